/**
 * Starts the program on a Node that is new enough: the running one, or the one that the npm package `node` brought. Plain
 * JavaScript without new syntax, since an old Node has to read it. In a checkout the sources run as they are; a package
 * has them compiled in dist.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const OLDEST_NODE = 26;
/** Three times this is what the young generation takes; half of it costs a tenth more CPU per message. */
const SEMI_SPACE_MB = 8;
/** What is in use is some 50 MB after the benchmark: collecting it more often costs nothing that could be measured. */
const HEAP_GROWING_PERCENT = 40;
const root = dirname(dirname(fileURLToPath(import.meta.url)));

export async function launch(program, script) {
  if (Number(process.versions.node.split('.')[0]) < OLDEST_NODE) {
    relaunch(findNode(), fileURLToPath(script));
    return;
  }
  tune(fileURLToPath(script));
  const source = join(root, 'src', 'main.ts');
  const entry = existsSync(source) ? source : join(root, 'dist', 'main.js');
  const { main } = await import(pathToFileURL(entry).href);
  await main(program, process.argv.slice(2));
}

/**
 * Starts over in the same process with what can only be set at the start: a young generation whose size is bounded (V8
 * lets it grow to 64 MB, for garbage), an old one that is collected before it has doubled, and as few of the C library's
 * arenas as threads that hash passwords. Together they take a third off the memory of a busy server, at the same speed.
 */
function tune(script) {
  const isTuned = process.execArgv.some((flag) => flag.startsWith('--max-semi-space-size'));
  // A profiler's timer outlives the start over, and would end the process.
  const isProfiled = `${process.execArgv} ${process.env['NODE_OPTIONS']}`.includes('--cpu-prof');
  if (isTuned || isProfiled || process.execve === undefined || process.platform === 'win32') return;
  const env = { MALLOC_ARENA_MAX: '2', ...process.env };
  const bounds = [`--max-semi-space-size=${SEMI_SPACE_MB}`, `--heap-growing-percent=${HEAP_GROWING_PERCENT}`];
  const flags = [...process.execArgv, ...bounds];
  process.execve(process.execPath, [process.execPath, ...flags, script, ...process.argv.slice(2)], env);
}

function findNode() {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve('node/package.json'));
    const binary = join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
    if (existsSync(binary)) return binary;
  } catch {
    // reported below
  }
  console.error(
    `Hammerhead needs Node ${OLDEST_NODE} or newer, and this is ${process.version}. The npm package "node" brings it, but ` +
      'its install script did not run: run "npm rebuild node", or install Node yourself.',
  );
  process.exit(1);
}

/** The child does the work; this process only passes signals down and the exit code up. */
function relaunch(node, script) {
  const child = spawn(node, [script, ...process.argv.slice(2)], { stdio: 'inherit' });
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  // A terminal sends Ctrl-C to both; a service manager only to this one. The child counts a second one as "at once".
  process.on('SIGINT', () => {
    if (!process.stdin.isTTY) child.kill('SIGINT');
  });
  child.on('error', (cause) => {
    console.error(cause.message);
    process.exit(1);
  });
  child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
