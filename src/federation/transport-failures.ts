/**
 * From what sockets, TLS, DNS and the HTTP parser throw to a decision, by their error codes: their texts are for people.
 */
import { DeniedAddressError } from '../lib/network-policy.ts';
import { FederationError, isFinal, mayPass } from './federation-error.ts';

/** A connection that was there and ended under the request. */
export function isBrokenConnection(cause: unknown): boolean {
  const code = codeOf(cause);
  return code === 'UND_ERR_SOCKET' || code === 'ECONNRESET' || code === 'EPIPE';
}

export function toFederationError(cause: unknown): FederationError {
  if (cause instanceof FederationError) return cause;
  if (cause instanceof DeniedAddressError) return isFinal('denied', 'no address that may be connected to', cause);
  const code = codeOf(cause);
  if (NOT_FOUND.has(code)) return mayPass('unresolved', 'the name has no address', cause);
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return mayPass('timeout', 'connecting took too long', cause);
  if (isUntrusted(code)) return mayPass('untrusted', `the certificate is not accepted (${code})`, cause);
  if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED')
    return isFinal('cancelled', 'the client closed', cause);
  if (code.startsWith('HPE_') || code.startsWith('Z_') || code === 'UND_ERR_HEADERS_OVERFLOW') {
    return isFinal('malformed', `the answer is no HTTP (${code})`, cause);
  }
  return mayPass('unreachable', `no connection (${code === '' ? 'unknown' : code})`, cause);
}

const NOT_FOUND: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'EAI_AGAIN',
  'EAI_NODATA',
  'ENODATA',
  'EAI_NONAME',
  'ERR_INVALID_URL',
]);

/** OpenSSL's verdicts on a chain, by Node's names. */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'HOSTNAME_MISMATCH',
]);

function isUntrusted(code: string): boolean {
  return UNTRUSTED.has(code) || code.startsWith('ERR_TLS_') || code.startsWith('CERT_');
}

/** The code of an error, or of the first that several attempts to connect ended in. */
function codeOf(cause: unknown): string {
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof AggregateError ? codeOf(cause.errors[0]) : '';
}
