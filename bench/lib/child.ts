/**
 * Ties a child process to this one: it ends when it is disposed, and at the latest when this process ends.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** Returns what ends `child` by `signal` and waits for it. */
export function tieChild(child: ChildProcess, signal: NodeJS.Signals): () => Promise<void> {
  const endAtExit = (): void => {
    child.kill(signal);
  };
  process.once('exit', endAtExit);
  return async () => {
    process.off('exit', endAtExit);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  };
}
