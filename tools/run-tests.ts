/**
 * Runs the tests with Node's own runner, a few files at a time, on one PostgreSQL for all of them.
 *
 *   npm run unit                            everything
 *   npm run unit -- src/protocol            the files below a folder
 *   npm run unit -- --grep 'power levels'   tests whose name matches
 *   npm run unit -- --long                  with the long variants (more rounds, bigger inputs)
 *
 * Other options that begin with `--` go to `node --test`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestPostgres } from '../test/support/database.ts';

/** Two cores are what a small machine has; servers and databases started by tests share them. */
const CONCURRENCY = 2;
/** A test that takes longer than this hangs. */
const TIMEOUT_MS = 10 * 60_000;

const options = parseOptions(process.argv.slice(2));
const files = findTests(options.paths);
if (files.length === 0) {
  console.error('no test file matches');
  process.exit(1);
}
process.exitCode = await run();

interface Options {
  readonly paths: readonly string[];
  readonly forwarded: readonly string[];
  readonly isLong: boolean;
}

function parseOptions(given: readonly string[]): Options {
  const paths: string[] = [];
  const forwarded: string[] = [];
  let isLong = false;
  for (let index = 0; index < given.length; index++) {
    const option = given[index] ?? '';
    if (option === '--long') isLong = true;
    else if (option === '--grep') forwarded.push(`--test-name-pattern=${given[++index] ?? ''}`);
    else if (option.startsWith('--')) forwarded.push(option);
    else paths.push(option);
  }
  return { paths, forwarded, isLong };
}

function findTests(paths: readonly string[]): readonly string[] {
  const folders = paths.length === 0 ? ['src', 'test', 'tools', 'bench'] : paths;
  const found = folders.flatMap((path) => (isFolder(path) ? globSync(join(path, '**/*.test.ts')) : [path]));
  return [...new Set(found)].sort();
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function createFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'hammerhead-compiled-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

async function run(): Promise<number> {
  const needsPostgres = files.some((file) => readFileSync(file, 'utf8').includes('support/'));
  await using postgres = needsPostgres ? await startTestPostgres() : undefined;
  using compiled = createFolder();
  const child = spawn(
    process.execPath,
    [
      '--test',
      // A timer that a test left behind must not hold up all others; what the test says has been said by then.
      '--test-force-exit',
      `--test-concurrency=${CONCURRENCY}`,
      `--test-timeout=${TIMEOUT_MS}`,
      ...options.forwarded,
      ...files,
    ],
    {
      stdio: 'inherit',
      env: {
        // Each file and each server that it starts is a process of its own, which would compile all sources anew.
        NODE_COMPILE_CACHE: compiled.path,
        ...process.env,
        ...(postgres === undefined ? {} : { HAMMERHEAD_TEST_POSTGRES: postgres.url }),
        ...(options.isLong ? { HAMMERHEAD_LONG_TESTS: '1' } : {}),
      },
    },
  );
  // Awaited here: PostgreSQL is disposed of when this function returns.
  return await waitFor(child);
}

async function waitFor(child: ChildProcess): Promise<number> {
  const stop = (): void => void child.kill('SIGTERM');
  process.prependListener('SIGINT', stop);
  process.prependListener('SIGTERM', stop);
  const [code] = await once(child, 'exit');
  return typeof code === 'number' ? code : 1;
}
