/**
 * The command line as it is used: a process of its own, its output, its exit code; on request with a terminal, which the
 * program `script` of util-linux makes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

export const BIN = fileURLToPath(new URL('../../bin/', import.meta.url));

export interface CliResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly input?: string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export type Cli = (given: readonly string[], options?: CliOptions) => Promise<CliResult>;

export const hammerhead: Cli = (given, options = {}) =>
  run(process.execPath, [join(BIN, 'hammerhead.js'), ...given], options);
export const hammerheadctl: Cli = (given, options = {}) =>
  run(process.execPath, [join(BIN, 'hammerheadctl.js'), ...given], options);

/** Part of util-linux, which every Linux has. */
const TERMINAL = 'script';

/** With a terminal for stdin, stdout and stderr: all output is in `stdout`. Types each answer when its prompt appears. */
export async function withTerminal(
  given: readonly string[],
  answers: readonly { readonly prompt: string; readonly type: string }[] = [],
): Promise<CliResult> {
  const line = [process.execPath, join(BIN, 'hammerhead.js'), ...given].map(quote).join(' ');
  const child = spawn(TERMINAL, ['-qec', line, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = [...answers];
  let stdout = '';
  let read = 0;
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (chunk: string) => {
    stdout += chunk;
    const [next] = waiting;
    const found = next === undefined ? -1 : stdout.indexOf(next.prompt, read);
    if (next === undefined || found === -1) return;
    read = found + next.prompt.length;
    waiting.shift();
    child.stdin.write(`${next.type}\r`);
  });
  const [status] = await once(child, 'close');
  return { status: typeof status === 'number' ? status : -1, stdout, stderr: '' };
}

export async function run(program: string, given: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  const { input = '', cwd, env = {} } = options;
  const child = spawn(program, given, { cwd, env: { ...process.env, ...env }, stdio: 'pipe' });
  // A program may end without having read everything.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [[status], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]);
  return { status: typeof status === 'number' ? status : -1, stdout, stderr };
}

/** Where a program is that not every machine has; undefined where it is missing. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
