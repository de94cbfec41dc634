/**
 * Signed requests between servers: what is signed, and the `Authorization: X-Matrix` header that carries the signature.
 * Reading is lenient where servers differ (order, white space, unquoted values with colons) and bounded in length.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#request-authentication
 */
import { encodeCanonicalJson } from './canonical-json.ts';
import { parseServerName, type ServerName } from './ids.ts';
import type { SigningKey } from './signing.ts';

export interface SignedRequest {
  readonly method: string;
  /** Path and query as they stand in the request line. */
  readonly uri: string;
  readonly origin: string;
  readonly destination: string;
  /** The canonical JSON of the body; undefined where there is none. */
  readonly content?: string | undefined;
}

export interface XMatrix {
  readonly origin: ServerName;
  /** Older servers leave it out. */
  readonly destination: string | undefined;
  readonly keyId: string;
  readonly signature: string;
}

/** Four values of at most 255 characters, with room for what others add. */
const MAX_HEADER_LENGTH = 4_096;
const SCHEME = /^x-matrix +/i;
const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
/** Beyond the token characters: colons, slashes and so on, as old servers send them without quotes. */
const UNQUOTED = /[^\s",]+/y;
const QUOTED = /"((?:[^"\\]|\\[\s\S])*)"/y;
const KEY_ID = /^[a-z0-9]{1,32}:[A-Za-z0-9_]{1,128}$/;
const SIGNATURE = /^[A-Za-z0-9+/_-]{1,128}={0,2}$/;

/** The text that a request's signature covers: keys in canonical order, the content as its own canonical text. */
export function requestSigningText({ method, uri, origin, destination, content }: SignedRequest): string {
  const others = encodeCanonicalJson({ destination, method, origin, uri });
  return content === undefined ? others : `{"content":${content},${others.slice(1)}`;
}

export function signRequest(request: SignedRequest, key: SigningKey): string {
  const { origin, destination } = request;
  const signature = key.sign(requestSigningText(request));
  return `X-Matrix origin="${origin}",destination="${destination}",key="${key.keyId}",sig="${signature}"`;
}

/** Whether a header speaks of this scheme at all. */
export function isXMatrix(header: string): boolean {
  return SCHEME.test(header);
}

/** What the header says; undefined where it is malformed or lacks something. Never throws. */
export function parseXMatrix(header: string): XMatrix | undefined {
  const scheme = header.length <= MAX_HEADER_LENGTH ? SCHEME.exec(header) : null;
  const parameters = scheme === null ? undefined : parseParameters(header.slice(scheme[0].length));
  const origin = parseServerName(parameters?.get('origin') ?? '');
  const keyId = parameters?.get('key') ?? '';
  const signature = parameters?.get('sig') ?? '';
  if (origin === undefined || !KEY_ID.test(keyId) || !SIGNATURE.test(signature)) return undefined;
  return { origin, destination: parameters?.get('destination'), keyId, signature };
}

/** `name=value` with white space around commas; of repeated names the first counts. */
function parseParameters(text: string): ReadonlyMap<string, string> | undefined {
  const parameters = new Map<string, string>();
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(text) ?? undefined;
    if (match !== undefined) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    take(/[ \t,]*/y);
    if (at === text.length) return parameters;
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined || take(/[ \t]*=[ \t]*/y) === undefined) return undefined;
    const quoted = take(QUOTED)?.[1];
    const value = quoted?.replaceAll(/\\([\s\S])/g, '$1') ?? take(UNQUOTED)?.[0];
    if (value === undefined || take(/[ \t]*(?:,|$)/y) === undefined) return undefined;
    if (!parameters.has(name)) parameters.set(name, value);
  }
}
