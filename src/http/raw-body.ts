/**
 * Bodies that are not JSON: handed to the handler chunk by chunk, at the pace at which it takes them, so that memory stays
 * flat whatever is sent. How much may come is for the handler to say; what it leaves unread is thrown away as it arrives,
 * so that a client which is still sending gets to read its answer.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#content-repository
 */
import type { IncomingMessage } from 'node:http';
import { MatrixError } from '../protocol/errors.ts';
import { NO_ODD_NUMBERS, type ReadBody } from './body.ts';

/** Stands in the place of a body schema. */
export const RAW_BODY = 'raw';

/** Without a byte: whoever uploads over a bad line gets this long to come back. */
const IDLE_TIMEOUT_MS = 120_000;

export interface RawBody {
  readonly contentType: string | undefined;
  /** What the client announced; undefined for chunked bodies. */
  readonly contentLength: number | undefined;
  /** To be read once. */
  readonly chunks: AsyncIterable<Buffer>;
}

export function readRawBody(request: IncomingMessage): Promise<ReadBody> {
  const { 'content-type': contentType, 'content-length': length } = request.headers;
  const contentLength = length === undefined ? undefined : Number(length);
  const value: RawBody = { contentType, contentLength, chunks: readChunks(request) };
  return Promise.resolve({ value, raw: Buffer.alloc(0), oddNumbers: NO_ODD_NUMBERS });
}

async function* readChunks(request: IncomingMessage): AsyncGenerator<Buffer> {
  request.setTimeout(IDLE_TIMEOUT_MS, () => request.destroy());
  try {
    // Destroying the request would cut the connection before the answer is out.
    yield* request.iterator({ destroyOnReturn: false });
  } catch (cause) {
    throw new MatrixError('M_UNKNOWN', 'The request ended early', { status: 400, cause });
  } finally {
    request.resume();
  }
}
