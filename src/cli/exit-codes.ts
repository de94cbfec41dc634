/**
 * What the exit code says (docs/operating.md): 0 done, 1 refused or failed, 2 said wrongly, 3 no server was reached, 4 the
 * server does not allow it.
 */
import { OperatorError } from '../lib/operator-error.ts';

export const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, forbidden: 4 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command with a message and this exit code. */
export class ExitError extends OperatorError {
  readonly exitCode: ExitCode;

  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}
