/**
 * What both commands run: `hammerhead`, and `hammerheadctl`, which is `hammerhead admin`.
 */
import { runCli } from './cli/program.ts';

export async function main(program: 'hammerhead' | 'hammerheadctl', options: readonly string[]): Promise<void> {
  // Whoever says `hammerheadctl admin` means the same.
  const isShort = program === 'hammerheadctl' && options[0] !== 'admin';
  process.exitCode = await runCli(isShort ? ['admin', ...options] : options);
}
