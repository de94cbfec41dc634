/**
 * Makes `dist` for publishing: the sources compiled to JavaScript, the migrations beside them, and a stamp that says which
 * commit this is. Nothing in a checkout needs it.
 */
import { spawnSync } from 'node:child_process';
import { cp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildStamp, readGit } from '../src/lib/build-info.ts';
import { systemClock } from '../src/lib/clock.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');

await rm(dist, { recursive: true, force: true });
const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
const { status } = spawnSync(process.execPath, [join(typescript, 'bin', 'tsc'), '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
});
if (status !== 0) process.exit(status ?? 1);
await cp(join(root, 'src/storage/migrations'), join(dist, 'storage/migrations'), { recursive: true });
const stamp: BuildStamp = { ...(await readGit()), buildDate: systemClock.now() };
await writeFile(join(dist, 'build-info.json'), `${JSON.stringify(stamp)}\n`);
