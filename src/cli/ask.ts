/**
 * Questions to whoever sits at the terminal: a confirmation before what can't be undone, and passwords that are not shown.
 * Where nobody sits, nothing is assumed.
 */
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { EXIT, ExitError } from './exit-codes.ts';

/** Longer than any password that the server takes; a wrong file piped in is not read to its end. */
const MAX_PASSWORD_BYTES = 4096;

export function isInteractive(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/** Throws unless the question is answered with yes. */
export async function confirm(question: string): Promise<void> {
  if (!isInteractive()) {
    throw new ExitError(EXIT.usage, `${question} Nobody is there to confirm it: say --yes`);
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-D is no yes.
  const answer = await lines
    .question(`${question} [y/N] `)
    .catch(() => '')
    .finally(() => lines.close());
  if (!/^y(es)?$/i.test(answer.trim())) throw new ExitError(EXIT.failed, 'not confirmed; nothing was done');
}

/** Asks twice for a new password. */
export async function askNewPassword(): Promise<string> {
  if (!isInteractive()) {
    throw new ExitError(EXIT.usage, 'nobody is there to type a password: say --password-stdin, and give it on stdin');
  }
  const password = await askPassword('Password: ');
  if (password === '') throw new ExitError(EXIT.failed, 'the password was empty; nothing was done');
  if ((await askPassword('Again: ')) !== password) {
    throw new ExitError(EXIT.failed, 'the passwords differ; nothing was done');
  }
  return password;
}

export async function askPassword(prompt: string): Promise<string> {
  // Readline echoes what is typed to its output: to this one nothing comes through.
  const silence = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: silence, terminal: true });
  process.stderr.write(prompt);
  try {
    return await lines.question('');
  } catch (cause) {
    // Ctrl-C and Ctrl-D.
    throw new ExitError(EXIT.failed, 'interrupted; nothing was done', { cause });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}

/** The first line of stdin. */
export async function readPassword(): Promise<string> {
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) {
    text += chunk;
    if (text.includes('\n') || text.length > MAX_PASSWORD_BYTES) break;
  }
  const password = text.split(/\r?\n/)[0] ?? '';
  if (password === '') throw new ExitError(EXIT.usage, 'expected a password on stdin, got nothing');
  return password;
}
