/**
 * What servers publish about themselves with any part of it spoiled: keys, signed again or as they are, and where they are
 * to be found. Of keys only such are believed as a key of the document signed, for no longer than is allowed.
 *
 *   node test/federation/fuzz-documents.test.ts [--runs 10000] [--seed 4711]
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { parseKeyDocument } from '../../src/federation/key-document.ts';
import { parseWellKnown } from '../../src/federation/well-known.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { isServerName, type ServerName } from '../../src/protocol/ids.ts';
import { isJsonObject } from '../../src/protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../../src/protocol/pdu.ts';
import { createSigningKey, signJson } from '../../src/protocol/signing.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { createFaultLogger } from '../support/fault-logger.ts';
import { startHomeserver, startScriptedServer, type TestHomeserver } from '../support/federation.ts';
import { fuzzing } from '../support/fuzz-federation.ts';
import { manglings, writeAnswer } from '../support/mangle.ts';
import { askAs } from '../support/signed-requests.ts';
import { spoil, spoilings } from '../support/spoil.ts';

/** Of pure functions; of requests fewer, since each needs another server. */
const RUNS = 200;
const SERVERS = 10;
const WEEK_MS = 7 * 24 * 60 * 60 * 1000;

const stack = new AsyncDisposableStack();
const faults: string[] = [];
let authority: TestAuthority;
let here: TestHomeserver;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority, logger: createFaultLogger(faults) }));
});

after(() => stack.disposeAsync());

const NAME = 'a.example' as ServerName;
const NOW = 1_700_000_000_000;
const key = createSigningKey(secureRandom.bytes(32), 'new');
const old = createSigningKey(secureRandom.bytes(32), 'old');

const RIGHT: JsonObject = {
  server_name: NAME,
  valid_until_ts: NOW + WEEK_MS,
  verify_keys: { [key.keyId]: { key: key.publicKey } },
  old_verify_keys: { [old.keyId]: { key: old.publicKey, expired_ts: NOW - 1 } },
};

test(`A16: a document of keys with anything in it (seed ${fuzzing(RUNS).seed})`, () => {
  const all = fc.array(spoilings, { maxLength: 3 });
  fc.assert(
    fc.property(all, all, (beforeSigning, afterSigning) => {
      const spoiled = beforeSigning.reduce<JsonValue>(spoil, RIGHT);
      const published = afterSigning.reduce<JsonValue>(spoil, sign(spoiled));
      const read = parseKeyDocument(published, { serverName: NAME, now: NOW });
      if (read === undefined) return;
      assert.equal(read.serverName, NAME);
      assert.ok(read.document.validUntil <= NOW + WEEK_MS);
      assert.ok(read.keys.some(({ publicKey }) => publicKey === key.publicKey));
      for (const { validUntil, expiredAt } of read.keys) assert.ok((expiredAt ?? validUntil) <= NOW + WEEK_MS);
    }),
    fuzzing(RUNS),
  );
  assert.ok(parseKeyDocument(sign(RIGHT), { serverName: NAME, now: NOW }));
});

function sign(document: JsonValue): JsonValue {
  try {
    return isJsonObject(document) ? signJson(document, NAME, key) : document;
  } catch {
    // What has no canonical form is signed by nobody.
    return document;
  }
}

test('C8: a well-known document with anything in it', () => {
  const right = { 'm.server': 'b.example:8448', 'x.other': { a: [1] } };
  fc.assert(
    fc.property(fc.array(spoilings, { maxLength: 2 }), manglings, (all, mangle) => {
      const body = JSON.stringify(all.reduce<JsonValue>(spoil, right));
      const delegated = parseWellKnown(Buffer.from(mangle({ status: 200, headers: {}, body }).body));
      if (delegated !== undefined) assert.ok(isServerName(delegated));
    }),
    fuzzing(RUNS),
  );
  assert.equal(parseWellKnown(Buffer.from(JSON.stringify(right))), 'b.example:8448');
});

test('requests of servers that publish anything for their keys', async () => {
  const { seed, numRuns } = fuzzing(SERVERS);
  await fc.assert(
    fc.asyncProperty(manglings, async (mangle) => {
      await using peer = await startScriptedServer(authority);
      peer.handle = (_request, response) => {
        const body = JSON.stringify(peer.keyDocument());
        writeAnswer(response, mangle({ status: 200, headers: { 'content-type': 'application/json' }, body }));
      };
      const path = `/_matrix/federation/v1/query/profile?user_id=${encodeURIComponent(`@x:${here.serverName}`)}`;
      const { status } = await askAs(peer, here, { path });
      // Nobody has this name; who is not believed is not even told so.
      assert.ok(status === 401 || status === 404, String(status));
      assert.deepEqual(faults, []);
    }),
    { seed, numRuns },
  );
});
