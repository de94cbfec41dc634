/**
 * Make PDU: each sentence of the reference, in every room version.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../../src/lib/clock.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { contentHash, eventIdOf } from '../../src/protocol/hashes.ts';
import type { JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { getRoomVersion, ROOM_VERSIONS, type RoomVersion } from '../../src/protocol/room-version.ts';
import { verifyEventSignature } from '../../src/protocol/signing.ts';
import { createPduMaker } from '../../src/rooms/make-pdu.ts';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, SIGNING_KEY, startAdminServer } from '../support/admin-server.ts';
import { SERVER } from '../support/engine.ts';
import { at, listAt } from '../support/json.ts';

const UNKNOWN_ROOM = '!unknown:test.example';
const SENDER = '@root:test.example';

describe('admin API: make PDU', () => {
  let server: AdminServer;
  const rooms = new Map<string, string>();
  before(async () => {
    server = await startAdminServer();
    for (const version of ROOM_VERSIONS.keys()) {
      rooms.set(version, (await server.user(server.admin).createRoom({ room_version: version })).roomId);
    }
  });
  after(() => server[Symbol.asyncDispose]());

  const make = (body: unknown) => server.api('POST', '/make-pdu', body);
  const roomOf = (version: string): string => rooms.get(version) ?? '';
  const made = async (body: unknown): Promise<Pdu> => {
    const answer = await make(body);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body as Pdu;
  };
  const versionOf = (id: string): RoomVersion => {
    const version = getRoomVersion(id);
    if (version === undefined) throw new Error(id);
    return version;
  };
  const withoutUnsigned = ({ unsigned: _unsigned, ...rest }: Pdu): JsonObject => rest;
  const verifies = (pdu: Pdu, version: RoomVersion): boolean =>
    verifyEventSignature(pdu, version, {
      serverName: SERVER,
      keyId: SIGNING_KEY.keyId,
      publicKey: SIGNING_KEY.publicKey,
    });
  const eventCount = async (): Promise<number> => {
    const [row] = await server.db.database.query(sql<{ n: number }>`select count(*) as n from events`);
    return row?.n ?? 0;
  };

  for (const [id, version] of ROOM_VERSIONS) {
    test(`version ${id}: only room_id, sender and content are needed; hashed, signed, with its id under unsigned`, async () => {
      const before = await eventCount();
      const pdu = await made({
        pdu: { room_id: roomOf(id), sender: SENDER, type: 'm.room.message', content: { body: 'x' } },
      });
      const [head] = await server.db.database.query(sql<{ depth: number }>`
        select depth from room_heads where room_id = ${roomOf(id)}`);
      assert.equal(pdu.depth, (head?.depth ?? 0) + 1);
      assert.equal(pdu.prev_events.length, 1);
      // Create (unless it names the room), power levels, membership.
      assert.equal(pdu.auth_events.length, version.roomIdFromCreate ? 2 : 3);
      for (const reference of [...pdu.prev_events, ...pdu.auth_events]) {
        if (version.eventIds === 'server') {
          assert.ok(Array.isArray(reference) && typeof at(reference, 1, 'sha256') === 'string', 'a pair');
        } else assert.equal(typeof reference, 'string');
      }
      assert.ok(Math.abs(pdu.origin_server_ts - Date.now()) < 10_000);
      const { unsigned: _unsigned, ...hashed } = pdu;
      assert.equal(pdu.hashes.sha256, contentHash(hashed));
      assert.ok(verifies(pdu, version));
      assert.equal(at(pdu, 'unsigned', 'event_id'), eventIdOf(withoutUnsigned(pdu) as Pdu, version));
      if (version.eventIds === 'server') assert.equal(at(pdu, 'unsigned', 'event_id'), pdu.event_id);
      else assert.equal(pdu.event_id, undefined);
      assert.equal(await eventCount(), before, 'nothing is stored');
      const timeline = await server.user(server.admin).room(roomOf(id)).ok('GET', '/messages?dir=b&limit=1');
      assert.notEqual(at(timeline, 'chunk', 0, 'type'), 'm.room.message', 'nothing is sent');
    });

    test(`version ${id}: given keys are not modified, dont_sign and dont_hash leave out what they say`, async () => {
      const base = {
        room_id: UNKNOWN_ROOM,
        sender: '@somebody:other.example',
        content: { any: ['thing', null, { deep: true }] },
        auth_events: ['$a'],
        prev_events: ['$b', '$c'],
        depth: 4711,
        origin_server_ts: 42,
        custom: { kept: 'as it is' },
        ...(version.eventIds === 'server' ? { event_id: '$mine:other.example' } : {}),
      };
      const unhashed = await made({ room_version: id, dont_hash: true, pdu: base });
      assert.deepEqual(withoutUnsigned(unhashed), base, 'neither hashed nor signed');
      assert.match(String(at(unhashed, 'unsigned', 'event_id')), /^\$/);
      const unsigned = await made({ room_version: id, dont_sign: true, pdu: base });
      const { hashes, ...rest } = withoutUnsigned(unsigned);
      assert.deepEqual(rest, base);
      assert.deepEqual(hashes, { sha256: contentHash(base) });
      const whole = await made({ room_version: id, pdu: base });
      const { signatures, hashes: same, ...kept } = withoutUnsigned(whole);
      assert.deepEqual([kept, same], [base, hashes]);
      assert.deepEqual(Object.keys(Object(signatures)), [SERVER]);
    });
  }

  test('both dont_hash and dont_sign are false by default, and dont_hash leaves the signature out too', async () => {
    const pdu = { room_id: roomOf('11'), sender: SENDER, content: {} };
    const neither = await made({ pdu });
    assert.ok('hashes' in neither && 'signatures' in neither);
    const hashless = await made({ pdu, dont_hash: true, dont_sign: false });
    assert.ok(!('hashes' in hashless) && !('signatures' in hashless));
  });

  test('the request of the reference gives the keys of the reference’s answer', async () => {
    const answer = await made({
      dont_hash: true,
      dont_sign: true,
      room_version: '11',
      pdu: { content: {}, room_id: roomOf('11'), sender: SENDER },
    });
    assert.deepEqual(Object.keys(answer).sort(), [
      'auth_events',
      'content',
      'depth',
      'origin_server_ts',
      'prev_events',
      'room_id',
      'sender',
      'unsigned',
    ]);
    assert.deepEqual(Object.keys(Object(answer.unsigned)), ['event_id']);
  });

  test('a room version that is omitted, empty or null comes from the database', async () => {
    for (const more of [{}, { room_version: '' }, { room_version: null }]) {
      const pdu = await made({ ...more, pdu: { room_id: roomOf('3'), sender: SENDER, content: {} } });
      // Version 3 alone has ids in the alphabet of plain base64 without padding, as its own calculation says.
      assert.equal(at(pdu, 'unsigned', 'event_id'), eventIdOf(withoutUnsigned(pdu) as Pdu, versionOf('3')));
    }
  });

  test('hashes, signatures and unsigned that are given stay', async () => {
    const pdu = {
      room_id: roomOf('10'),
      sender: SENDER,
      content: {},
      hashes: { sha256: 'given' },
      unsigned: { age: 5 },
    };
    const first = await made({ pdu });
    assert.deepEqual(first.hashes, { sha256: 'given' });
    assert.equal(at(first, 'unsigned', 'age'), 5);
    assert.ok(verifies(first, versionOf('10')), 'the signature covers the hash that was given');
    const second = await made({ pdu: { ...pdu, signatures: { 'other.example': { 'ed25519:1': 'x' } } } });
    assert.deepEqual(second.signatures, { 'other.example': { 'ed25519:1': 'x' } });
  });

  test('M_BAD_JSON: no pdu, or a pdu without one of the required keys', async () => {
    const whole = { room_id: roomOf('11'), sender: SENDER, content: {} };
    const bodies: unknown[] = [{}, { pdu: null }, { pdu: [] }, { pdu: 'x' }, { pdu: {} }];
    for (const key of ['room_id', 'sender', 'content'] as const) {
      const { [key]: _left, ...rest } = whole;
      bodies.push({ pdu: rest }, { pdu: { ...whole, [key]: 5 } }, { pdu: { ...whole, [key]: null } });
    }
    for (const body of bodies) {
      const { status, body: error } = await make(body);
      assert.deepEqual([status, at(error, 'errcode')], [400, 'M_BAD_JSON'], JSON.stringify(body));
    }
  });

  test('M_NOT_FOUND: what is not supplied cannot be fetched', async () => {
    const given = { auth_events: [], prev_events: [], depth: 1 };
    const pdu = { room_id: UNKNOWN_ROOM, sender: SENDER, content: {}, ...given };
    const without = (key: keyof typeof given) => {
      const { [key]: _left, ...rest } = pdu;
      return { room_version: '11', pdu: rest };
    };
    for (const body of [
      { pdu },
      { room_version: '', pdu },
      { room_version: '99', pdu },
      without('auth_events'),
      without('prev_events'),
      without('depth'),
    ]) {
      const { status, body: error } = await make(body);
      assert.deepEqual([status, at(error, 'errcode')], [404, 'M_NOT_FOUND'], JSON.stringify(body));
    }
    assert.equal(
      (await make({ room_version: '11', pdu })).status,
      201,
      'with everything supplied the room may be unknown',
    );
  });

  test('M_UNKNOWN: hashing, signing or the calculation of the id failed', async () => {
    const makePdu = createPduMaker({
      engine: server.at.engine,
      clock: systemClock,
      random: secureRandom,
      serverName: SERVER,
      signingKey: {
        ...SIGNING_KEY,
        sign() {
          throw new Error('no key');
        },
      },
    });
    const pdu = { room_id: roomOf('11'), sender: SENDER, content: {} };
    const request = { roomVersion: undefined, pdu, hashes: true };
    await assert.rejects(makePdu({ ...request, signs: true }), { errcode: 'M_UNKNOWN', status: 500 });
    await makePdu({ ...request, signs: false });
  });

  test('the auth events are those of the event’s type', async () => {
    const { auth_events: authEvents } = await made({
      pdu: {
        room_id: roomOf('11'),
        sender: SENDER,
        type: 'm.room.member',
        state_key: '@guest:test.example',
        content: { membership: 'invite' },
      },
    });
    const { state } = { state: await server.user(server.admin).room(roomOf('11')).ok('GET', '/state') };
    const types = listAt(state)
      .filter((event) => authEvents.includes(String(at(event, 'event_id'))))
      .map((event) => at(event, 'type'));
    assert.deepEqual(types.sort(), ['m.room.create', 'm.room.join_rules', 'm.room.member', 'm.room.power_levels']);
  });
});
