/**
 * Keys of servers: fetched, kept, believed for as long as they may be, on a real database and with a network that a test
 * writes. The world's servers publish what `documents` says.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { FederationRequest } from '../../src/federation/client.ts';
import { mayPass } from '../../src/federation/federation-error.ts';
import { parseKeyDocument } from '../../src/federation/key-document.ts';
import { createKeyFetcher } from '../../src/federation/key-fetcher.ts';
import { createKeyStore } from '../../src/federation/key-store.ts';
import { createKeyring, type Keyring, type SignatureVerdict } from '../../src/federation/keyring.ts';
import { createOwnKeys } from '../../src/federation/own-keys.ts';
import { createRequestAuth } from '../../src/federation/request-auth.ts';
import { createServerPolicy } from '../../src/federation/server-policy.ts';
import { createVerifyPool } from '../../src/federation/verify-pool.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { OperatorError } from '../../src/lib/operator-error.ts';
import { MatrixError } from '../../src/protocol/errors.ts';
import { contentHash } from '../../src/protocol/hashes.ts';
import type { ServerName } from '../../src/protocol/ids.ts';
import { isJsonObject } from '../../src/protocol/json-value.ts';
import type { JsonObject, JsonValue, Pdu } from '../../src/protocol/pdu.ts';
import { redactPdu } from '../../src/protocol/redaction.ts';
import { requestSigningText } from '../../src/protocol/request-signing.ts';
import { createSigningKey, type SigningKey, signJson } from '../../src/protocol/signing.ts';
import { parseJsonWithOddNumbers } from '../../src/protocol/strict-json.ts';
import { createTestDatabase } from '../support/database.ts';
import { versionOf } from '../support/engine.ts';
import { createTestClock, type TestClock } from '../support/test-clock.ts';

const DAY = 24 * 60 * 60 * 1000;
const US = 'us.example' as ServerName;
const A = 'a.example' as ServerName;
const NOTARY = 'notary.example' as ServerName;

let seeds = 1;
const newKey = (version = 'one'): SigningKey => createSigningKey(Buffer.alloc(32, seeds++), version);

interface World extends AsyncDisposable {
  readonly clock: TestClock;
  readonly documents: Map<string, JsonValue>;
  /** What the notary answers. */
  notaryDocuments: readonly JsonValue[];
  readonly requests: string[];
  readonly keyring: Keyring;
  /** A keyring that has only the database. */
  restart(): Keyring;
}

async function createWorld(trustedServers: readonly ServerName[] = []): Promise<World> {
  const test = await createTestDatabase();
  const clock = createTestClock();
  const documents = new Map<string, JsonValue>();
  const requests: string[] = [];
  const client = {
    async fetchJson({ destination, path, unsigned }: FederationRequest): Promise<JsonObject> {
      assert.equal(unsigned, true);
      requests.push(`${destination} ${path}`);
      await new Promise((resolve) => setImmediate(resolve));
      if (path === '/_matrix/key/v2/query') return { server_keys: world.notaryDocuments };
      const document = documents.get(destination);
      if (!isJsonObject(document)) throw mayPass('unreachable', 'nobody there');
      return document;
    },
  };
  const start = (): Keyring =>
    createKeyring({
      database: test.database,
      ownKeys: createOwnKeys({ serverName: US, signingKey: OUR_KEY, retiredKeys: [], clock }),
      fetcher: createKeyFetcher({
        client,
        store: createKeyStore(test.database),
        clock,
        logger: silentLogger,
        trustedServers,
      }),
      pool: createVerifyPool(),
    });
  const world: World = {
    clock,
    documents,
    notaryDocuments: [],
    requests,
    keyring: start(),
    restart: start,
    [Symbol.asyncDispose]: () => test.drop(),
  };
  return world;
}

const OUR_KEY = newKey('ours');

interface Publishing {
  readonly key: SigningKey;
  readonly validUntil: number;
  readonly more?: JsonObject;
}

function document(serverName: string, { key, validUntil, more = {} }: Publishing): JsonObject {
  const verify_keys = { [key.keyId]: { key: key.publicKey } };
  return signJson({ server_name: serverName, valid_until_ts: validUntil, verify_keys, ...more }, serverName, key);
}

const signedBy = (key: SigningKey, server = A): JsonObject => signJson({ hello: 'world' }, server, key);

describe('keys of servers', () => {
  test('limit 14: a key is fetched once, kept in memory and in the database', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + DAY }));
    const check = (keyring: Keyring) => keyring.verifyObject(signedBy(key), A, world.clock.now());
    assert.deepEqual(await Promise.all([check(world.keyring), check(world.keyring)]), ['valid', 'valid']);
    assert.equal(await check(world.restart()), 'valid');
    assert.deepEqual(world.requests, ['a.example /_matrix/key/v2/server']);
    assert.equal(await world.keyring.verifyObject({ ...signedBy(key), hello: 'moon' }, A), 'invalid');
    assert.equal(await world.keyring.verifyObject({ hello: 'world' }, A), 'invalid');
  });

  test('our own signatures are checked without asking anybody', async () => {
    await using world = await createWorld();
    assert.equal(await world.keyring.verifyObject(signedBy(OUR_KEY, US), US, world.clock.now()), 'valid');
    assert.equal(await world.keyring.verifyObject(signedBy(newKey(), US), US, world.clock.now()), 'no_key');
    assert.deepEqual(world.requests, []);
  });

  test('L7: keys of many servers are gathered within a budget, and dead servers are then left alone', async () => {
    await using world = await createWorld([NOTARY]);
    const names = Array.from({ length: 60 }, (_, index) => `s${index}.example` as ServerName);
    const [alive = A] = names;
    const key = newKey();
    world.documents.set(alive, document(alive, { key, validUntil: world.clock.now() + DAY }));
    const wanted = new Map(names.map((name) => [name, { keyIds: [key.keyId], validAt: world.clock.now() }]));
    await world.keyring.prepare(wanted, 10_000);
    assert.equal(await world.keyring.verifyObject(signedBy(key, alive), alive, world.clock.now()), 'valid');
    /** Who was asked for keys since the last look: all, and those besides the notary that were asked for their own. */
    const look = (): { readonly all: readonly string[]; readonly owners: readonly string[] } => {
      const all = world.requests.splice(0);
      return { all, owners: all.filter((one) => one.endsWith('/server') && !one.startsWith(NOTARY)) };
    };
    const { owners } = look();
    assert.equal(new Set(owners).size, names.length);
    assert.equal(owners.length, names.length, 'each once');
    await world.keyring.prepare(wanted, 10_000);
    assert.deepEqual(look().all, [], 'nobody is asked again so soon, the notary neither');
    world.clock.advance(2 * 60_000);
    await world.keyring.prepare(wanted, 0);
    assert.deepEqual(look().owners, [], 'nobody where there is no time');
    const dead = names.slice(1, 20).map((name) => world.keyring.verifyObject(signedBy(key, name), name));
    assert.ok((await Promise.all(dead)).every((verdict) => verdict === 'no_key'));
    assert.deepEqual(look().owners, [], 'and then they are left alone');
  });

  test('A16: a key counts seven days at most, whatever its server says, and is then fetched again', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + 1_000 * DAY }));
    const at = (time: number) => world.keyring.verifyObject(signedBy(key), A, time);
    const start = world.clock.now();
    assert.equal(await at(start + 6 * DAY), 'valid');
    assert.equal(await at(start + 8 * DAY), 'no_key');
    world.clock.advance(8 * DAY);
    assert.equal(await at(world.clock.now()), 'valid');
    world.documents.delete(A);
    world.clock.advance(8 * DAY);
    assert.equal(await at(world.clock.now()), 'no_key');
    assert.equal(await at(start), 'valid', 'what was signed while it was valid stays so');
    assert.equal(await world.keyring.verifyObject(signedBy(key), A), 'valid', 'where the time does not matter');
  });

  test('A16: a key that was replaced counts for what came before', async () => {
    await using world = await createWorld();
    const [old, current] = [newKey('old'), newKey('new')];
    const expired = world.clock.now() - DAY;
    const old_verify_keys = { [old.keyId]: { key: old.publicKey, expired_ts: expired } };
    world.documents.set(
      A,
      document(A, { key: current, validUntil: world.clock.now() + DAY, more: { old_verify_keys } }),
    );
    assert.equal(await world.keyring.verifyObject(signedBy(old), A, expired - 1), 'valid');
    assert.equal(await world.keyring.verifyObject(signedBy(old), A, expired), 'no_key');
    assert.equal(await world.keyring.verifyObject(signedBy(current), A, world.clock.now()), 'valid');
  });

  test('limit 14: whoever names keys that nobody has makes us ask once a minute', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + DAY }));
    for (let round = 0; round < 5; round++) {
      assert.equal(await world.keyring.verifyObject(signedBy(newKey(`guess${round}`)), A), 'no_key');
      assert.equal(await world.keyring.verifyObject(signedBy(newKey()), 'dead.example' as ServerName), 'invalid');
      assert.equal(
        await world.keyring.verifyObject(
          signedBy(newKey(), 'dead.example' as ServerName),
          'dead.example' as ServerName,
        ),
        'no_key',
      );
    }
    assert.deepEqual(world.requests, ['a.example /_matrix/key/v2/server', 'dead.example /_matrix/key/v2/server']);
    world.clock.advance(61_000);
    await world.keyring.verifyObject(signedBy(newKey('guess')), A);
    assert.equal(world.requests.length, 3);
  });

  test('a server that was reinstalled under the same key id is believed, a notary about it is not', async () => {
    await using world = await createWorld([NOTARY]);
    const [lost, found, forged] = [newKey('auto'), newKey('auto'), newKey('auto')];
    const publish = (key: SigningKey) => document(A, { key, validUntil: world.clock.now() + DAY });
    world.documents.set(A, publish(lost));
    assert.equal(await world.keyring.verifyObject(signedBy(lost), A, world.clock.now()), 'valid');
    world.documents.set(A, publish(found));
    world.clock.advance(8 * DAY);
    world.documents.set(A, publish(found));
    assert.equal(await world.keyring.verifyObject(signedBy(found), A, world.clock.now()), 'valid');
    const notaryKey = newKey('notary');
    world.clock.advance(8 * DAY);
    world.documents.delete(A);
    world.documents.set(NOTARY, document(NOTARY, { key: notaryKey, validUntil: world.clock.now() + DAY }));
    world.notaryDocuments = [signJson(publish(forged), NOTARY, notaryKey)];
    assert.notEqual(await world.keyring.verifyObject(signedBy(forged), A, world.clock.now()), 'valid');
  });

  test("limit 14: a notary counts with its own signature and the server's, and for what was asked", async () => {
    const key = newKey();
    const notaryKey = newKey('notary');
    const now = createTestClock().now();
    const original = document(A, { key, validUntil: now + DAY });
    const both = signJson(original, NOTARY, notaryKey);
    const { signatures: _signatures, ...unsigned } = original;
    const cases: readonly (readonly [JsonValue, SignatureVerdict])[] = [
      [both, 'valid'],
      [original, 'no_key'],
      [signJson(unsigned, NOTARY, notaryKey), 'no_key'],
      [signJson(original, NOTARY, newKey('notary')), 'no_key'],
      [{ ...both, valid_until_ts: now + 2 * DAY }, 'no_key'],
      [signJson(document('b.example', { key, validUntil: now + DAY }), NOTARY, notaryKey), 'no_key'],
      [null, 'no_key'],
    ];
    for (const [answered, expected] of cases) {
      await using world = await createWorld([NOTARY]);
      world.documents.set(NOTARY, document(NOTARY, { key: notaryKey, validUntil: now + DAY }));
      world.notaryDocuments = [answered];
      assert.equal(await world.keyring.verifyObject(signedBy(key), A, now), expected, JSON.stringify(answered));
    }
  });

  test('limit 14: many servers are one question to the notary, and a few are asked themselves', async () => {
    await using world = await createWorld([NOTARY]);
    const notaryKey = newKey('notary');
    world.documents.set(NOTARY, document(NOTARY, { key: notaryKey, validUntil: world.clock.now() + DAY }));
    const servers = Array.from({ length: 30 }, (_, index) => ({
      name: `s${index}.example` as ServerName,
      key: newKey(),
    }));
    world.notaryDocuments = servers
      .slice(1)
      .map(({ name, key }) =>
        signJson(document(name, { key, validUntil: world.clock.now() + DAY }), NOTARY, notaryKey),
      );
    const values = servers.map(({ name, key }) => ({
      serverName: name,
      signatures: [[key.keyId, key.sign('text')] as const],
      text: () => 'text',
      validAt: world.clock.now(),
    }));
    const verdicts = await world.keyring.verifyAll(values);
    assert.deepEqual(verdicts, ['no_key', ...Array.from({ length: 29 }, () => 'valid')]);
    assert.deepEqual(world.requests, [
      'notary.example /_matrix/key/v2/server',
      'notary.example /_matrix/key/v2/query',
      's0.example /_matrix/key/v2/server',
    ]);
  });
});

describe('key documents', () => {
  const now = 1_700_000_000_000;
  const read = (value: JsonValue) => parseKeyDocument(value, { serverName: A, now });

  test("limit 14: what is not signed by one of its own keys, or is another's, says nothing", () => {
    const key = newKey();
    const good = document(A, { key, validUntil: now + DAY });
    assert.equal(read(good)?.keys.length, 1);
    for (const bad of [
      document('b.example', { key, validUntil: now + DAY }),
      { ...good, valid_until_ts: now + 2 * DAY },
      { ...good, verify_keys: { 'ed25519:x': { key: newKey().publicKey } } },
      signJson({ ...good, signatures: {}, verify_keys: {} }, A, key),
      document(A, { key, validUntil: 1.5 }),
      [],
      null,
      'x',
    ]) {
      assert.equal(read(bad), undefined, JSON.stringify(bad));
    }
  });

  test('limit 14: only ed25519 keys of 32 bytes count, and those of policy servers do not', () => {
    const key = newKey();
    const { publicKey } = newKey();
    const verify_keys = {
      [key.keyId]: { key: key.publicKey },
      'rsa:1': { key: publicKey },
      'ed25519:short': { key: 'AAAA' },
      'ed25519:bad-id': { key: publicKey },
      'ed25519:policy_server': { key: publicKey },
      'ed25519:number': { key: 5 },
      'ed25519:padded': { key: `${publicKey}=` },
    };
    const found = read(document(A, { key, validUntil: now + DAY, more: { verify_keys } }));
    assert.deepEqual(found?.keys.map(({ keyId }) => keyId).sort(), ['ed25519:one', 'ed25519:padded']);
    assert.equal(found?.keys.find(({ keyId }) => keyId === 'ed25519:padded')?.publicKey, publicKey);
  });

  test('A17: keys that everybody has are no keys', () => {
    const published = createSigningKey(Buffer.from('YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1', 'base64'), '1');
    assert.equal(read(document(A, { key: published, validUntil: now + DAY })), undefined);
    const own = { serverName: US, signingKey: published, retiredKeys: [], clock: createTestClock() };
    assert.throws(() => createOwnKeys(own), OperatorError);
    const key = newKey();
    const verify_keys = {
      [key.keyId]: { key: key.publicKey },
      'ed25519:chart': { key: 'l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og=' },
    };
    const found = read(document(A, { key, validUntil: now + DAY, more: { verify_keys } }));
    assert.deepEqual(
      found?.keys.map(({ keyId }) => keyId),
      [key.keyId],
    );
  });
});

describe('events', () => {
  function pdu(sender: string, more: Partial<Pdu> = {}): Pdu {
    const body = {
      type: 'm.room.message',
      sender,
      room_id: '!room:a.example',
      content: { body: 'hello' },
      origin_server_ts: 1_700_000_000_000,
      depth: 1,
      prev_events: [],
      auth_events: [],
      ...more,
    };
    return { ...body, hashes: { sha256: contentHash(body) }, signatures: {} };
  }

  function sign(event: Pdu, version: string, signers: readonly (readonly [string, SigningKey])[]): Pdu {
    const signatures = Object.assign(
      {},
      ...signers.map(([server, key]) => signJson(redactPdu(event, versionOf(version)), server, key).signatures),
    );
    return { ...event, signatures };
  }

  test("A5, A6: an event needs the signature of its sender's server, and of those that vouch for it", async () => {
    await using world = await createWorld();
    const [keyA, keyB] = [newKey(), newKey()];
    const B = 'b.example';
    world.documents.set(A, document(A, { key: keyA, validUntil: world.clock.now() + DAY }));
    world.documents.set(B, document(B, { key: keyB, validUntil: world.clock.now() + DAY }));
    const byA = pdu('@a:a.example');
    const withId = { ...byA, event_id: '$x:b.example' };
    const vouched = pdu('@a:a.example', {
      type: 'm.room.member',
      state_key: '@a:a.example',
      content: { membership: 'join', join_authorised_via_users_server: '@b:b.example' },
    });
    const invite = pdu('@a:a.example', {
      type: 'm.room.member',
      state_key: '@c:b.example',
      content: { membership: 'invite', third_party_invite: { signed: {} } },
    });
    const cases: readonly (readonly [Pdu, string, SignatureVerdict])[] = [
      [sign(byA, '11', [[A, keyA]]), '11', 'valid'],
      [byA, '11', 'invalid'],
      [sign(byA, '11', [[B, keyB]]), '11', 'invalid'],
      [sign(byA, '11', [[A, keyB]]), '11', 'invalid'],
      [{ ...sign(byA, '11', [[A, keyA]]), depth: 2 }, '11', 'invalid'],
      [{ ...sign(byA, '11', [[A, keyA]]), content: {} }, '11', 'valid'],
      [sign(withId, '1', [[A, keyA]]), '1', 'invalid'],
      [
        sign(withId, '1', [
          [A, keyA],
          [B, keyB],
        ]),
        '1',
        'valid',
      ],
      [sign(vouched, '11', [[A, keyA]]), '11', 'invalid'],
      [
        sign(vouched, '11', [
          [A, keyA],
          [B, keyB],
        ]),
        '11',
        'valid',
      ],
      [sign(vouched, '6', [[A, keyA]]), '6', 'valid'],
      [invite, '11', 'valid'],
      [pdu('nobody'), '11', 'invalid'],
      [sign(pdu('@a:dead.example'), '11', [['dead.example', keyA]]), '11', 'no_key'],
    ];
    const verdicts = await world.keyring.verifyEvents(
      cases.map(([event, id]) => ({ pdu: event, version: versionOf(id) })),
    );
    assert.deepEqual(
      verdicts,
      cases.map(([, , expected]) => expected),
    );
  });

  test('A16: since room version 5 the key had to be valid when the event was made', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + DAY }));
    const late = pdu('@a:a.example', { origin_server_ts: world.clock.now() + 2 * DAY });
    const check = (id: string) =>
      world.keyring.verifyEvents([{ pdu: sign(late, id, [[A, key]]), version: versionOf(id) }]);
    assert.deepEqual(await check('4'), ['valid']);
    assert.deepEqual(await check('5'), ['no_key']);
  });

  test('a large batch is checked on other threads with the same verdicts, one fetch for all', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + DAY }));
    const events = Array.from({ length: 300 }, (_, index) => {
      const event = sign(pdu('@a:a.example', { depth: index + 1 }), '11', [[A, key]]);
      return { pdu: index % 7 === 0 ? { ...event, depth: 0 } : event, version: versionOf('11') };
    });
    const verdicts = await world.keyring.verifyEvents(events);
    assert.deepEqual(
      verdicts,
      events.map((_, index) => (index % 7 === 0 ? 'invalid' : 'valid')),
    );
    assert.equal(world.requests.length, 1);
  });
});

describe('requests of servers', () => {
  async function authenticate(world: World, { raw, signed, key }: { raw: string; signed: string; key: SigningKey }) {
    const policy = createServerPolicy({ serverName: US, allow: ['*.example'], deny: ['evil.example'] });
    const auth = createRequestAuth({ serverName: US, clock: world.clock, keyring: world.keyring, policy });
    const request = { method: 'PUT', uri: '/x', origin: A, destination: US };
    const signature = key.sign(requestSigningText({ ...request, content: signed }));
    const body = { ...parseJsonWithOddNumbers(Buffer.from(raw)), raw: Buffer.from(raw) };
    return auth
      .begin([`X-Matrix origin=${A},destination=${US},key="${key.keyId}",sig="${signature}"`])
      .verify({ ...request, body });
  }

  test('limit 9: numbers that servers write differently do not break a signature', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + DAY }));
    assert.equal(await authenticate(world, { raw: '{"b": 1, "a": 2}', signed: '{"a":2,"b":1}', key }), A);
    assert.equal(await authenticate(world, { raw: '{"a":1.0}', signed: '{"a":1.0}', key }), A);
    assert.equal(await authenticate(world, { raw: '{"a":1e2}', signed: '{"a":100}', key }), A);
    assert.equal(await authenticate(world, { raw: '{"a":"\\ud800"}', signed: '{"a":"\\ud800"}', key }), A);
    await assert.rejects(authenticate(world, { raw: '{"a":1.0}', signed: '{"a":2}', key }), MatrixError);
    await assert.rejects(authenticate(world, { raw: '{"b":1,"a":2}', signed: '{"b":1,"a":2}', key }), MatrixError);
  });

  test('A16: a request signed with a key that has run out is 401', async () => {
    await using world = await createWorld();
    const key = newKey();
    world.documents.set(A, document(A, { key, validUntil: world.clock.now() + DAY }));
    assert.equal(await authenticate(world, { raw: '{}', signed: '{}', key }), A);
    world.documents.delete(A);
    world.clock.advance(2 * DAY);
    const cause = await authenticate(world, { raw: '{}', signed: '{}', key }).catch((error: unknown) => error);
    assert.ok(cause instanceof MatrixError);
    assert.deepEqual([cause.status, cause.errcode], [401, 'M_UNAUTHORIZED']);
  });

  test('limit 9: what can be judged before the body is judged before it', async () => {
    await using world = await createWorld();
    const policy = createServerPolicy({ serverName: US, allow: ['*.example'], deny: ['evil.example'] });
    const auth = createRequestAuth({ serverName: US, clock: world.clock, keyring: world.keyring, policy });
    const header = (origin: string, more = '') => `X-Matrix origin=${origin},key=ed25519:1,sig=AAAA${more}`;
    const refuse = (headers: readonly string[], errcode: string) =>
      assert.throws(
        () => auth.begin(headers),
        (cause) => cause instanceof MatrixError && cause.errcode === errcode,
      );
    refuse([], 'M_UNAUTHORIZED');
    refuse(['Bearer token'], 'M_UNAUTHORIZED');
    refuse([header('a b')], 'M_UNAUTHORIZED');
    refuse([header('a.example', ',destination=other.example')], 'M_UNAUTHORIZED');
    refuse([header('a.example'), header('b.example')], 'M_UNAUTHORIZED');
    refuse([header('us.example')], 'M_FORBIDDEN');
    refuse([header('evil.example')], 'M_FORBIDDEN');
    refuse([header('EVIL.example:8448')], 'M_FORBIDDEN');
    refuse([header('elsewhere.org')], 'M_FORBIDDEN');
    assert.ok(auth.begin(['Basic x', header('a.example', ',destination=us.example'), header('a.example')]));
  });
});
