import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { MatrixError } from '../protocol/errors.ts';
import { compileBody } from './body.ts';
import { AnyObject } from './schema.ts';

/** What the reader says of a body: the body itself, or the errcode that refuses it. */
async function read(text: string, strictNumbers: boolean): Promise<unknown> {
  const reader = compileBody({ schema: AnyObject, emptyBody: true, strictNumbers });
  const outcome = Promise.withResolvers<unknown>();
  await using server = createServer((incoming, response) => {
    reader(incoming)
      .then(({ value }) => value)
      .catch((error: unknown) => (error instanceof MatrixError ? error.errcode : error))
      .then(outcome.resolve, outcome.reject)
      .finally(() => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const sent = request({ port, host: '127.0.0.1', method: 'PUT', agent: false });
  sent.on('response', (response) => response.resume());
  sent.end(text);
  return await outcome.promise;
}

test('A19: an endpoint whose body becomes an event refuses numbers that canonical JSON cannot have', async () => {
  for (const number of ['1.0', '1e2', '-0', '9007199254740992', '1.5', '1e400']) {
    const body = `{"a":[{"b":${number}}]}`;
    assert.equal(await read(body, true), 'M_BAD_JSON', number);
    assert.deepEqual(await read(body, false), JSON.parse(body), number);
  }
});

test('A19: other bodies pass it, and what is no JSON stays M_NOT_JSON', async () => {
  const body = { a: '1.0', '-0': [0, -1, 9007199254740991, true, null] };
  assert.deepEqual(await read(JSON.stringify(body), true), body);
  assert.deepEqual(await read('', true), {});
  for (const text of ['{"a":1.0', '{"a":NaN}', '{"a":Infinity}', '{"a":-}']) {
    assert.equal(await read(text, true), 'M_NOT_JSON', text);
  }
});
