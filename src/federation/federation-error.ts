/**
 * How asking another server can end badly, decided where the cause is known: `retry` for what may pass (with the time that
 * the peer asked for, where it did), `fail` for what asking again would not change. Nobody has to read the message.
 */
export type FailureReason =
  /** Our own rules forbid it: a denied server, a private address. */
  | 'denied'
  /** No address: neither DNS nor well-known know the name. */
  | 'unresolved'
  /** No connection, or one that broke. */
  | 'unreachable'
  /** A certificate that does not prove the name. */
  | 'untrusted'
  | 'timeout'
  | 'too_large'
  /** An answer that is not what the endpoint promises. */
  | 'malformed'
  /** An error answer; `status` and `errcode` say which. */
  | 'answered'
  /** This server is stopping, or its caller gave up. */
  | 'cancelled';

export type FailureOutcome =
  | { readonly kind: 'retry'; readonly after?: number | undefined }
  | { readonly kind: 'fail' };

export interface FailureDetails {
  readonly outcome: FailureOutcome;
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined;
  readonly errcode?: string | undefined;
  /** What the answer says in words, cut short: to be passed on, and never to be read. */
  readonly errorText?: string | undefined;
  /** The version of a room that we say we do not support. */
  readonly roomVersion?: string | undefined;
  readonly cause?: unknown;
}

const RETRY: FailureOutcome = { kind: 'retry' };
const FAIL: FailureOutcome = { kind: 'fail' };

export class FederationError extends Error {
  readonly reason: FailureReason;
  readonly outcome: FailureOutcome;
  readonly status: number | undefined;
  readonly errcode: string | undefined;
  readonly errorText: string | undefined;
  readonly roomVersion: string | undefined;

  constructor(reason: FailureReason, message: string, details: FailureDetails) {
    super(message, 'cause' in details ? { cause: details.cause } : undefined);
    this.name = 'FederationError';
    this.reason = reason;
    this.outcome = details.outcome;
    this.status = details.status;
    this.errcode = details.errcode;
    this.errorText = details.errorText;
    this.roomVersion = details.roomVersion;
  }
}

/** A failure that may pass. */
export function mayPass(reason: FailureReason, message: string, cause?: unknown): FederationError {
  return new FederationError(reason, message, { outcome: RETRY, cause });
}

/** A failure that asking again would not change. */
export function isFinal(reason: FailureReason, message: string, cause?: unknown): FederationError {
  return new FederationError(reason, message, { outcome: FAIL, cause });
}
