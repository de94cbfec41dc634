/**
 * The error answers of the Matrix APIs: one table of error codes with the HTTP status that each normally has, and the
 * exception that carries one to the client. Everything else that is thrown is a fault and shown as 500 `M_UNKNOWN`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
 */
import type { JsonObject } from './pdu.ts';

const STATUS = {
  M_FORBIDDEN: 403,
  M_UNKNOWN_TOKEN: 401,
  M_MISSING_TOKEN: 401,
  M_USER_LOCKED: 401,
  M_USER_SUSPENDED: 403,
  M_USER_DEACTIVATED: 403,
  M_BAD_JSON: 400,
  M_NOT_JSON: 400,
  M_NOT_FOUND: 404,
  M_LIMIT_EXCEEDED: 429,
  M_UNRECOGNIZED: 404,
  M_UNKNOWN: 500,
  M_UNAUTHORIZED: 401,
  M_INVITE_BLOCKED: 403,
  M_USER_IN_USE: 400,
  M_INVALID_USERNAME: 400,
  M_ROOM_IN_USE: 400,
  M_INVALID_ROOM_STATE: 400,
  M_UNSUPPORTED_ROOM_VERSION: 400,
  M_INCOMPATIBLE_ROOM_VERSION: 400,
  M_BAD_STATE: 400,
  M_GUEST_ACCESS_FORBIDDEN: 403,
  M_MISSING_PARAM: 400,
  M_INVALID_PARAM: 400,
  M_TOO_LARGE: 413,
  M_EXCLUSIVE: 400,
  M_RESOURCE_LIMIT_EXCEEDED: 400,
  M_CANNOT_LEAVE_SERVER_NOTICE_ROOM: 403,
  M_WEAK_PASSWORD: 400,
  M_BAD_ALIAS: 400,
  M_UNKNOWN_POS: 400,
  M_DUPLICATE_ANNOTATION: 400,
  M_KEY_TOO_LARGE: 400,
  M_PROFILE_TOO_LARGE: 400,
  M_SERVER_NOT_TRUSTED: 400,
  M_THREEPID_AUTH_FAILED: 403,
  M_THREEPID_DENIED: 403,
  M_UNABLE_TO_AUTHORISE_JOIN: 400,
  M_UNABLE_TO_GRANT_JOIN: 400,
  M_NOT_YET_UPLOADED: 504,
  M_CANNOT_OVERWRITE_MEDIA: 409,
} as const satisfies Record<string, number>;

export type ErrorCode = keyof typeof STATUS;

export interface MatrixErrorOptions {
  /** Where the spec wants another status than the code usually has. */
  readonly status?: number;
  /** Further keys of the answer, such as `retry_after_ms` or `soft_logout`. */
  readonly fields?: JsonObject;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An answer for a client: thrown in api and feature modules, mapped to HTTP in one place. */
export class MatrixError extends Error {
  readonly errcode: ErrorCode;
  readonly status: number;
  readonly fields: JsonObject;
  readonly headers: Readonly<Record<string, string>>;

  constructor(errcode: ErrorCode, message: string, options: MatrixErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'MatrixError';
    this.errcode = errcode;
    this.status = options.status ?? STATUS[errcode];
    this.fields = options.fields ?? {};
    this.headers = options.headers ?? {};
  }

  /** The JSON body of the answer. */
  toBody(): JsonObject {
    return { ...this.fields, errcode: this.errcode, error: this.message };
  }
}
