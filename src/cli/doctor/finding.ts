/** What the doctor says: each finding with what to do about it. */

export type Level = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly level: Level;
  /** What was examined: `database`, `tls`. */
  readonly check: string;
  readonly message: string;
  /** What to do; every `warn` and `fail` has one. */
  readonly remedy?: string;
}

export const ok = (check: string, message: string): Finding => ({ level: 'ok', check, message });

export const warn = (check: string, message: string, remedy: string): Finding => ({
  level: 'warn',
  check,
  message,
  remedy,
});

export const fail = (check: string, message: string, remedy: string): Finding => ({
  level: 'fail',
  check,
  message,
  remedy,
});

export function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  // Several addresses were tried: the message is empty, and the first one's says why.
  if (cause instanceof AggregateError) return messageOf(cause.errors[0]);
  return cause.message;
}
