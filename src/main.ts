/**
 * What both commands run: `hammerhead`, and `hammerheadctl`, which is `hammerhead admin`.
 */
import { runCli } from './cli/program.ts';

export async function main(program: 'hammerhead' | 'hammerheadctl', options: readonly string[]): Promise<void> {
  process.exitCode = await runCli(program === 'hammerheadctl' ? ['admin', ...options] : options);
}
