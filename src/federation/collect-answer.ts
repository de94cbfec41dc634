/**
 * An answer that is wanted whole, taken from the parser as it comes: undici's own requests make a stream of each, which
 * costs as much as the rest of a small exchange.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { Dispatcher } from 'undici';
import { isFinal } from './federation-error.ts';

export interface TransportAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

export interface Collecting {
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

const unzip = promisify(gunzip);

export async function collectAnswer(
  dispatcher: Pick<Dispatcher, 'dispatch'>,
  request: Dispatcher.DispatchOptions,
  collecting: Collecting,
): Promise<TransportAnswer> {
  const { status, headers, body } = await dispatch(dispatcher, request, collecting);
  return { status, headers, body: await decode(body, headers['content-encoding'], collecting) };
}

function dispatch(
  dispatcher: Pick<Dispatcher, 'dispatch'>,
  request: Dispatcher.DispatchOptions,
  { maxBytes, signal }: Collecting,
): Promise<TransportAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<TransportAnswer>();
  const chunks: Buffer[] = [];
  let size = 0;
  let status = 0;
  let headers: TransportAnswer['headers'] = {};
  let running: Dispatcher.DispatchController | undefined;
  signal.addEventListener('abort', () => {
    reject(signal.reason);
    running?.abort(signal.reason);
  });
  dispatcher.dispatch(request, {
    onRequestStart(controller) {
      running = controller;
      if (signal.aborted) controller.abort(signal.reason);
    },
    onResponseStart(_controller, statusCode, given) {
      status = statusCode;
      headers = flattenHeaders(given);
    },
    onResponseData(controller, chunk) {
      size += chunk.length;
      if (size > maxBytes) controller.abort(tooLarge(maxBytes));
      else chunks.push(chunk);
    },
    onResponseEnd: () => resolve({ status, headers, body: Buffer.concat(chunks) }),
    onResponseError: (_controller, cause) => reject(cause),
  });
  return promise;
}

/** A header that came several times is a list. */
export function flattenHeaders(headers: IncomingHttpHeaders): TransportAnswer['headers'] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
}

export function tooLarge(maxBytes: number) {
  return isFinal('too_large', `the answer has more than ${maxBytes} bytes`);
}

/** Whether a body has to be unpacked; throws for an encoding that nobody asked for. */
export function isZipped(encoding = 'identity'): boolean {
  const name = encoding.trim().toLowerCase();
  if (name === 'identity' || name === '') return false;
  if (name === 'gzip' || name === 'x-gzip') return true;
  throw isFinal('malformed', 'the answer has an encoding that nobody asked for');
}

async function decode(body: Buffer, encoding: string | undefined, { maxBytes }: Collecting): Promise<Buffer> {
  if (!isZipped(encoding)) return body;
  try {
    return await unzip(body, { maxOutputLength: maxBytes });
  } catch (cause) {
    const isTooLarge = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE';
    throw isTooLarge ? tooLarge(maxBytes) : cause;
  }
}
