/**
 * Media fetched from the server that it comes from: by the federation API, which answers with two parts, the second of which
 * holds the content or says where it is; from servers of before that by the old download endpoint.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#content-repository
 */
import { type FederationClient, federationPath } from '../federation/client.ts';
import { FederationError } from '../federation/federation-error.ts';
import type { OpenLocation } from '../federation/location-client.ts';
import type { OpenedAnswer } from '../federation/transport.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { MediaKey } from '../storage/media.ts';
import { parseDisposition } from './content-disposition.ts';
import { boundaryOf, type ContentPart, readContentPart } from './multipart.ts';
import type { FetchRemoteFile, RemoteFile } from './remote-media.ts';

/** Beyond waiting for an upload that was announced: large files of slow servers. */
const TRANSFER_MS = 120_000;
/** Around the content: boundaries, headers and metadata. */
const FRAME_BYTES = 128 * 1024;

export interface RemoteFilesOptions {
  readonly client: Pick<FederationClient, 'open'>;
  readonly openLocation: OpenLocation;
}

interface Bounds {
  readonly deadlineMs: number;
  readonly maxBytes: number;
}

export function createRemoteFiles({ client, openLocation }: RemoteFilesOptions): FetchRemoteFile {
  return async ({ origin, mediaId }, { timeoutMs, maxBytes }) => {
    const bounds = { deadlineMs: timeoutMs + TRANSFER_MS, maxBytes: maxBytes + FRAME_BYTES };
    const key = { origin, mediaId };
    try {
      const answer = await openSigned(client, key, { ...bounds, timeoutMs });
      if (answer === undefined) return await openLegacy(client, key, { ...bounds, timeoutMs });
      return await readParts(answer, (location) => openLocation(location, bounds));
    } catch (cause) {
      if (isMissing(cause)) return undefined;
      throw toClientError(cause);
    }
  };
}

interface Asking extends Bounds {
  readonly timeoutMs: number;
}

/** Undefined where the server does not know the endpoint. */
async function openSigned(
  client: RemoteFilesOptions['client'],
  { origin: destination, mediaId }: MediaKey,
  { timeoutMs, ...bounds }: Asking,
): Promise<OpenedAnswer | undefined> {
  const path = federationPath`/_matrix/federation/v1/media/download/${mediaId}?timeout_ms=${timeoutMs}`;
  try {
    return await client.open({ destination, method: 'GET', path, ...bounds });
  } catch (cause) {
    if (isUnknownEndpoint(cause)) return undefined;
    throw cause;
  }
}

/** Whoever knows the endpoint says what is wrong in Matrix's words. */
function isUnknownEndpoint(cause: unknown): boolean {
  if (!(cause instanceof FederationError) || cause.status === undefined || cause.status >= 500) return false;
  return cause.errcode === undefined || cause.errcode === 'M_UNRECOGNIZED';
}

async function openLegacy(
  client: RemoteFilesOptions['client'],
  { origin: destination, mediaId }: MediaKey,
  { timeoutMs, ...bounds }: Asking,
): Promise<RemoteFile> {
  const path = federationPath`/_matrix/media/v3/download/${destination}/${mediaId}`;
  const query = federationPath`?allow_remote=false&timeout_ms=${timeoutMs}`;
  const request = { destination, method: 'GET', path: path + query, unsigned: true, ...bounds } as const;
  return toFile(await client.open(request));
}

async function readParts(answer: OpenedAnswer, open: (location: string) => Promise<OpenedAnswer>): Promise<RemoteFile> {
  using stack = new DisposableStack();
  stack.use(answer);
  const boundary = boundaryOf(answer.headers['content-type']);
  if (boundary === undefined) throw new MatrixError('M_UNKNOWN', 'The server gave no media', { status: 502 });
  const part = await readContentPart(answer.chunks, boundary);
  const location = part.headers.get('location');
  if (location !== undefined) return toFile(await open(location), part);
  const resources = stack.move();
  return { ...describe(part.headers), chunks: closing(part.chunks, resources) };
}

/** The part that named the place says what it is, where it does. */
function toFile(answer: OpenedAnswer, part?: ContentPart): RemoteFile {
  const named = describe(part?.headers ?? new Map());
  const found = describe(new Map(Object.entries(answer.headers).map(([name, value]) => [name, value ?? ''])));
  return {
    contentType: found.contentType ?? named.contentType,
    fileName: found.fileName ?? named.fileName,
    chunks: closing(answer.chunks, answer),
  };
}

function describe(headers: ReadonlyMap<string, string>): Pick<RemoteFile, 'contentType' | 'fileName'> {
  const disposition = headers.get('content-disposition');
  return {
    contentType: headers.get('content-type'),
    fileName: disposition === undefined ? undefined : parseDisposition(disposition),
  };
}

async function* closing(chunks: AsyncIterable<Buffer>, resource: Disposable): AsyncGenerator<Buffer> {
  using _resource = resource;
  yield* chunks;
}

function isMissing(cause: unknown): boolean {
  return cause instanceof FederationError && (cause.status === 404 || cause.status === 403);
}

function toClientError(cause: unknown): unknown {
  if (cause instanceof MatrixError) return cause;
  const { status, errcode } = cause instanceof FederationError ? cause : {};
  if (status === 504 || errcode === 'M_NOT_YET_UPLOADED') {
    return new MatrixError('M_NOT_YET_UPLOADED', 'The content of this media id has not been uploaded yet', { cause });
  }
  if (errcode === 'M_TOO_LARGE') {
    return new MatrixError('M_TOO_LARGE', 'The media is too large for its server to give', { status: 502, cause });
  }
  return new MatrixError('M_UNKNOWN', 'The media could not be fetched from its server', { status: 502, cause });
}
