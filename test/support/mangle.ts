/**
 * Answers of another server gone wrong in any way: other JSON in a part of it, another status, cut off, no JSON at all,
 * headers that lie, the connection closed in the middle.
 */
import type { ServerResponse } from 'node:http';
import fc from 'fast-check';
import { spoil, spoilings } from './spoil.ts';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  /** Closes the connection in the middle of the body. */
  readonly isCut?: boolean;
}

export type Mangling = (good: RawAnswer) => RawAnswer;

const STATUSES = [201, 204, 206, 301, 302, 307, 400, 401, 403, 404, 405, 408, 413, 418, 429, 500, 501, 502, 503, 504];

const BODIES = [
  '',
  'null',
  '[]',
  '{}',
  '"x"',
  '{"a":1e400}',
  '{"a":1,"a":2}',
  '\ufeff{}',
  '{"event":',
  '[200, {}]',
  '[200]',
  '<html>',
  '['.repeat(100_000),
  '{"a":'.repeat(50_000),
  `{"a":"${'x'.repeat(1_000_000)}"}`,
  `[${'{},'.repeat(50_000)}{}]`,
  '{"errcode":"M_UNABLE_TO_GRANT_JOIN","error":5}',
  '{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","room_version":{"a":[]}}',
  '{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":"soon"}',
  '{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":-1e308}',
];

const HEADERS: readonly Readonly<Record<string, string>>[] = [
  { 'content-type': 'text/html' },
  { 'content-type': 'multipart/mixed; boundary=""' },
  { 'content-type': 'application/json; charset=utf-7' },
  { 'content-encoding': 'gzip' },
  { 'content-encoding': 'br, gzip, br' },
  { 'content-length': '5' },
  { location: 'https://127.0.0.1:1/elsewhere' },
  { 'retry-after': 'never' },
];

export const manglings: fc.Arbitrary<Mangling> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.array(spoilings, { minLength: 1, maxLength: 3 }).map(
      (all): Mangling =>
        (good) => ({ ...good, body: spoilText(good.body, all) }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({ status: fc.constantFrom(...STATUSES), body: fc.constantFrom(...BODIES) }).map(
      (change): Mangling =>
        (good) => ({ ...good, ...change }),
    ),
  },
  fc.constantFrom(...BODIES).map(
    (body): Mangling =>
      (good) => ({ ...good, body }),
  ),
  fc.uint8Array({ maxLength: 300 }).map(
    (bytes): Mangling =>
      (good) => ({ ...good, body: Buffer.from(bytes) }),
  ),
  fc.constantFrom(...HEADERS).map(
    (headers): Mangling =>
      (good) => ({ ...good, headers: { ...good.headers, ...headers } }),
  ),
  fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean()).map(
    ([share, isCut]): Mangling =>
      (good) => ({ ...good, isCut, body: Buffer.from(good.body).subarray(0, Math.floor(good.body.length * share)) }),
  ),
);

export function writeAnswer(response: ServerResponse, { status, headers, body, isCut = false }: RawAnswer): void {
  response.writeHead(status, isCut ? { ...headers, 'content-length': String(body.length + 1) } : headers);
  if (isCut) response.write(body, () => response.destroy());
  else response.end(status === 204 ? undefined : body);
}

/** Where it is no JSON there is nothing to go down into. */
function spoilText(body: string | Buffer, all: readonly Parameters<typeof spoil>[1][]): string | Buffer {
  if (typeof body !== 'string') return body;
  return JSON.stringify(all.reduce(spoil, JSON.parse(body)));
}
