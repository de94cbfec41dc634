/**
 * What the media endpoints share: their paths, parameters, and the answer that carries content. Whatever is uploaded may
 * be hostile: browsers get it sandboxed, under the type it was uploaded with and no other, and as a download unless the
 * type is harmless.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#content-repository
 */
import { Type } from 'typebox';
import { Answer, type AnswerHeaders, bytes } from '../../http/answer.ts';
import { rateLimitKey } from '../../http/client-address.ts';
import type { RequestContext, Requester } from '../../http/endpoint.ts';
import { parseRange } from '../../media/byte-range.ts';
import { formatDisposition } from '../../media/content-disposition.ts';
import type { Downloads, FindOptions } from '../../media/downloads.ts';
import { MatrixError } from '../../protocol/errors.ts';

/** A path below the old `/_matrix/media`, in all its versions. */
export function oldMediaPaths<P extends string>(path: P) {
  return [`/_matrix/media/v3${path}`, `/_matrix/media/r0${path}`, `/_matrix/media/v1${path}`] as const;
}

const Milliseconds = Type.Integer({ minimum: 0 });

/** What every request for content may say. Redirects are an offer that this server does not take up. */
export const CONTENT_QUERY = {
  allow_remote: Type.Optional(Type.Boolean()),
  timeout_ms: Type.Optional(Milliseconds),
  allow_redirect: Type.Optional(Type.Boolean()),
};

/** Beyond any image. */
const MAX_DIMENSION = 1_000_000;
const Dimension = Type.Integer({ minimum: 1, maximum: MAX_DIMENSION });

export const THUMBNAIL_QUERY = {
  ...CONTENT_QUERY,
  width: Dimension,
  height: Dimension,
  method: Type.Optional(Type.Union([Type.Literal('crop'), Type.Literal('scale')])),
  animated: Type.Optional(Type.Boolean()),
};

interface ContentQuery {
  readonly allow_remote?: boolean;
  readonly timeout_ms?: number;
}

/** The spec's default. */
const DEFAULT_TIMEOUT_MS = 20_000;
/** Proxies commonly give up after a minute. */
const MAX_TIMEOUT_MS = 50_000;

export function readFindOptions(
  {
    query,
    signal,
    ip,
    requester,
  }: Pick<RequestContext, 'signal' | 'ip'> & {
    readonly query: ContentQuery;
    readonly requester?: Requester | undefined;
  },
  isAuthenticated: boolean,
): FindOptions {
  const timeoutMs = Math.min(query.timeout_ms ?? DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS);
  const payer = requester?.userId ?? rateLimitKey(ip);
  return { isAuthenticated, allowRemote: query.allow_remote ?? true, payer, timeoutMs, signal };
}

export interface ServedContent {
  readonly sha256: string;
  readonly size: number;
  readonly contentType: string;
  readonly fileName: string | null;
  readonly isPublic: boolean;
}

const CONTENT_HEADERS: AnswerHeaders = {
  'content-security-policy':
    "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';",
  'cross-origin-resource-policy': 'cross-origin',
  'x-content-type-options': 'nosniff',
  'accept-ranges': 'bytes',
};
/** What an mxc:// URI names never changes, but it can be deleted. */
const MAX_AGE = 'max-age=86400, immutable';

/** Content, or the part of it that was asked for, or that the client has it already. */
export async function answerContent(
  downloads: Downloads,
  content: ServedContent,
  request: Pick<RequestContext, 'header'>,
): Promise<Answer> {
  const { size, contentType, fileName, isPublic } = content;
  const etag = `"${content.sha256}"`;
  const headers = { ...CONTENT_HEADERS, etag, 'cache-control': `${isPublic ? 'public' : 'private'}, ${MAX_AGE}` };
  if (hasTag(request.header('if-none-match'), etag)) return new Answer(304, '', { headers });
  const ifRange = request.header('if-range');
  const range = ifRange === undefined || ifRange === etag ? parseRange(request.header('range'), size) : undefined;
  if (range === 'unsatisfiable') throw outside(size);
  const described = {
    ...headers,
    'content-type': contentType,
    'content-disposition': formatDisposition(contentType, fileName),
    'content-length': String(range === undefined ? size : range.end - range.start + 1),
  };
  const body = await downloads.open(content, range);
  if (range === undefined) return bytes(body, { headers: described });
  const contentRange = `bytes ${range.start}-${range.end}/${size}`;
  return bytes(body, { status: 206, headers: { ...described, 'content-range': contentRange } });
}

function hasTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);
}

function outside(size: number): MatrixError {
  return new MatrixError('M_INVALID_PARAM', 'The range lies outside of the content', {
    status: 416,
    headers: { 'content-range': `bytes */${size}` },
  });
}
