/**
 * Our own media for other servers, and thumbnails of it: two parts, the metadata, which nobody has defined yet, and the
 * content. Media of others is theirs to give.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#content-repository
 */
import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { type Answer, bytes } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint, type RequestContext } from '../../http/endpoint.ts';
import { formatDisposition } from '../../media/content-disposition.ts';
import type { FoundMedia } from '../../media/downloads.ts';
import type { Media } from '../../media/media.ts';
import { readMediaKey } from '../../media/mxc.ts';
import type { ServerName } from '../../protocol/ids.ts';
import { CONTENT_QUERY, readFindOptions, type ServedContent, THUMBNAIL_QUERY } from '../client/media-requests.ts';

export interface FederationMediaOptions extends Pick<Media, 'downloads' | 'thumbnails'> {
  readonly serverName: ServerName;
  readonly random: { alphanumeric(length: number): string };
}

/** As good as never part of anybody's file. */
const BOUNDARY_LENGTH = 40;

export function federationMediaEndpoints(options: FederationMediaOptions): readonly Endpoint[] {
  return [downloadEndpoint(options), thumbnailEndpoint(options)];
}

interface Request extends Pick<RequestContext, 'signal' | 'ip'> {
  readonly params: { readonly mediaId: string };
  readonly query: { readonly timeout_ms?: number };
}

function find({ downloads, serverName }: FederationMediaOptions, request: Request): Promise<FoundMedia> {
  const { params, query, signal, ip } = request;
  const key = readMediaKey({ serverName, mediaId: params.mediaId });
  return downloads.find(key, { ...readFindOptions({ query, signal, ip }, true), allowRemote: false });
}

function downloadEndpoint(options: FederationMediaOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/media/download/{mediaId}',
    auth: 'server',
    query: Type.Object(CONTENT_QUERY),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid',
    handle: async (request) => answerParts(options, await find(options, request)),
  });
}

function thumbnailEndpoint(options: FederationMediaOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/media/thumbnail/{mediaId}',
    auth: 'server',
    query: Type.Object(THUMBNAIL_QUERY),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediathumbnailmediaid',
    async handle(request) {
      const { width, height, method = 'scale', animated = false } = request.query;
      const found = await find(options, request);
      const thumbnail = await options.thumbnails.get(found, { width, height, method, animated });
      const fileName = `thumbnail.${thumbnail.contentType.replace('image/', '')}`;
      return answerParts(options, { ...thumbnail, fileName });
    },
  });
}

async function answerParts(
  { downloads, random }: FederationMediaOptions,
  content: Omit<ServedContent, 'isPublic'>,
): Promise<Answer> {
  const { contentType, fileName, size } = content;
  const boundary = random.alphanumeric(BOUNDARY_LENGTH);
  const head = Buffer.from(
    `--${boundary}\r\nContent-Type: application/json\r\n\r\n{}\r\n--${boundary}\r\n` +
      `Content-Type: ${contentType}\r\nContent-Disposition: ${formatDisposition(contentType, fileName)}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const headers = { 'content-type': `multipart/mixed; boundary=${boundary}` };
  const body = await downloads.open(content);
  if (Buffer.isBuffer(body)) return bytes(Buffer.concat([head, body, tail]), { headers });
  const length = { 'content-length': String(head.length + size + tail.length) };
  const whole = Readable.from(framed(head, body, tail), { objectMode: false });
  return bytes(whole, { headers: { ...headers, ...length } });
}

async function* framed(head: Buffer, body: Readable, tail: Buffer): AsyncGenerator<Buffer> {
  yield head;
  yield* body;
  yield tail;
}
