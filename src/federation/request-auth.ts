/**
 * Who sent a federation request: the `X-Matrix` header names a server and carries its signature over method, path, both
 * names and the body. What can be judged without the body is judged first, so that strangers cannot make us read one.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#request-authentication
 */

import type { Clock } from '../lib/clock.ts';
import { CanonicalJsonError, encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import { isXMatrix, parseXMatrix, requestSigningText, type XMatrix } from '../protocol/request-signing.ts';
import type { Keyring, SignedValue } from './keyring.ts';
import type { ServerPolicy } from './server-policy.ts';

export interface IncomingRequest {
  readonly method: string;
  readonly uri: string;
  readonly body: IncomingBody | undefined;
}

interface IncomingBody {
  readonly value: unknown;
  readonly raw: Buffer;
  readonly oddNumbers: { readonly size: number };
}

export interface RequestAuth {
  /** Throws M_UNAUTHORIZED, or M_FORBIDDEN for a server that is not talked with. */
  begin(authorization: readonly string[]): { verify(request: IncomingRequest): Promise<ServerName> };
}

export interface RequestAuthOptions {
  readonly serverName: ServerName;
  readonly clock: Clock;
  readonly keyring: Pick<Keyring, 'verifyAll'>;
  readonly policy: ServerPolicy;
  /** Told of each server whose signature was right: it is alive. */
  readonly onSeen?: (serverName: ServerName) => void;
}

/** One for each key that a server signs with, as some did. */
const MAX_HEADERS = 4;

export function createRequestAuth(options: RequestAuthOptions): RequestAuth {
  const { serverName, clock, keyring, policy, onSeen } = options;
  return {
    begin(authorization) {
      const headers = readHeaders(authorization, serverName);
      const { origin } = headers[0];
      if (!policy.admits(origin)) throw new MatrixError('M_FORBIDDEN', 'This server is not talked with');
      return {
        async verify(request) {
          // Keys have to be valid now: nobody signs requests in advance.
          const values = toSignedValues({ headers, request, serverName, now: clock.now() });
          const verdicts = await keyring.verifyAll(values);
          if (!verdicts.includes('valid')) {
            throw unauthorized(
              verdicts.includes('no_key') ? 'No valid key of this server is known' : 'Wrong signature',
            );
          }
          onSeen?.(origin);
          return origin;
        },
      };
    },
  };
}

type Headers = readonly [XMatrix, ...XMatrix[]];

/** Headers of other schemes are none of ours; those of this one have to agree on who sent the request. */
function readHeaders(authorization: readonly string[], serverName: ServerName): Headers {
  const ours = authorization.filter(isXMatrix).slice(0, MAX_HEADERS);
  if (ours.length === 0) throw unauthorized('The request is not signed');
  const [first, ...more] = ours.map((header) => {
    const parsed = parseXMatrix(header);
    if (parsed === undefined) throw unauthorized('The Authorization header is malformed');
    if (parsed.destination !== undefined && parsed.destination !== serverName) {
      throw unauthorized('The request is meant for another server');
    }
    return parsed;
  });
  if (first === undefined) throw unauthorized('The request is not signed');
  if (more.some(({ origin }) => origin !== first.origin)) throw unauthorized('The request comes from several servers');
  return [first, ...more];
}

interface Verifying {
  readonly headers: Headers;
  readonly request: IncomingRequest;
  readonly serverName: ServerName;
  readonly now: number;
}

/** Each way to understand what was signed; any of them proves the request. */
function toSignedValues({ headers, request, serverName, now }: Verifying): readonly SignedValue[] {
  const { method, uri, body } = request;
  return contentTexts(body).flatMap((content) =>
    headers.map(({ origin, keyId, signature }) => ({
      serverName: origin,
      signatures: [[keyId, signature] as const],
      text: () => requestSigningText({ method, uri, origin, destination: serverName, content }),
      validAt: now,
    })),
  );
}

/**
 * What a body's canonical text may be. Numbers like `1.0`, which old rooms have in their events, are written differently by
 * different servers: where there are such, the sender's own text may be canonical too.
 */
function contentTexts(body: IncomingBody | undefined): readonly (string | undefined)[] {
  if (body === undefined || body.raw.length === 0) return [undefined];
  const canonical = encodeIfPossible(body.value);
  const own = body.oddNumbers.size > 0 || canonical === undefined ? [body.raw.toString()] : [];
  return canonical === undefined ? own : [canonical, ...own];
}

function encodeIfPossible(value: unknown): string | undefined {
  try {
    // The body was parsed from JSON.
    return encodeCanonicalJson(value as JsonValue);
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return undefined;
    throw cause;
  }
}

function unauthorized(message: string): MatrixError {
  return new MatrixError('M_UNAUTHORIZED', message);
}
