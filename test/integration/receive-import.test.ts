/**
 * A room comes from another server: what of it is believed, and that its size costs time and not memory.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRoomImporter, type ImportResult } from '../../src/engine/import-room.ts';
import { createResolutionRunner } from '../../src/engine/resolution-runner.ts';
import { createStateResolver } from '../../src/engine/state-resolver.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { KeyedQueue } from '../../src/lib/keyed-queue.ts';
import { encodeCanonicalJson } from '../../src/protocol/canonical-json.ts';
import { createEvent } from '../../src/protocol/event.ts';
import type { EventId, RoomId, ServerName } from '../../src/protocol/ids.ts';
import type { Event, JsonObject, JsonValue } from '../../src/protocol/pdu.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import type { Database } from '../../src/storage/database.ts';
import { insertUnplaced, loadKnownEvents } from '../../src/storage/received-events.ts';
import { sql } from '../../src/storage/sql.ts';
import { BOB, createTestEngine, message, type TestEngine, versionOf } from '../support/engine.ts';
import { createNoPolicing, createVerifier } from '../support/receiver.ts';
import { RemoteServer } from '../support/remote-room.ts';

const remote = new RemoteServer('remote.example');
const CREATOR = remote.user('creator');
const VERSION = versionOf('11');
const ROOM = '!big:remote.example' as RoomId;

/** HAMMERHEAD_LONG_TESTS makes the room as large as those that are known for it. */
const IS_LONG = Number(process.env['HAMMERHEAD_LONG_TESTS'] ?? '0') > 0;
const MEMBERS = IS_LONG ? 10_000 : 300;
const RENAMES = IS_LONG ? 5 : 3;
const MAX_MORE_BYTES = 300_000_000;

let ts = 1_700_000_000_000;

interface Making {
  readonly type: string;
  readonly sender: string;
  readonly stateKey: string;
  readonly content: JsonObject;
  readonly auth: readonly EventId[];
  readonly prev?: readonly EventId[];
  readonly by?: { readonly serverName: string; readonly key: RemoteServer['key'] };
}

const UNKNOWN = `$${'A'.repeat(43)}` as EventId;
const REMOTE = { serverName: remote.name, key: remote.key };

function make({ type, sender, stateKey, content, auth, prev = [UNKNOWN], by = REMOTE }: Making): Event {
  const body = {
    type,
    sender,
    state_key: stateKey,
    content,
    room_id: ROOM,
    origin_server_ts: ts++,
    depth: 10,
    prev_events: type === 'm.room.create' ? [] : [...prev],
    auth_events: [...auth],
  };
  return createEvent(hashAndSignEvent(body, VERSION, by).pdu, VERSION);
}

function makeBase() {
  const create = make({
    type: 'm.room.create',
    sender: CREATOR,
    stateKey: '',
    content: { room_version: '11' },
    auth: [],
  });
  const creator = make({
    type: 'm.room.member',
    sender: CREATOR,
    stateKey: CREATOR,
    content: { membership: 'join' },
    auth: [create.eventId],
    prev: [create.eventId],
  });
  const auth = [create.eventId, creator.eventId];
  const levels = { users: { [CREATOR]: 100 } };
  const power = make({ type: 'm.room.power_levels', sender: CREATOR, stateKey: '', content: levels, auth });
  const rules = make({
    type: 'm.room.join_rules',
    sender: CREATOR,
    stateKey: '',
    content: { join_rule: 'public' },
    auth: [...auth, power.eventId],
  });
  return { create, creator, power, rules };
}

function makeMember(userId: string, auth: readonly EventId[], displayname = 'x'): Event {
  const content = { membership: 'join', displayname };
  return make({ type: 'm.room.member', sender: userId, stateKey: userId, content, auth });
}

function makeJoin(at: TestEngine, { create, power, rules }: ReturnType<typeof makeBase>): Event {
  const content = { membership: 'join' };
  const auth = [create.eventId, power.eventId, rules.eventId];
  const by = { serverName: at.serverName, key: at.signingKey };
  return make({ type: 'm.room.member', sender: BOB, stateKey: BOB, content, auth, by });
}

function createImporter(at: TestEngine, database: Database = at.db.database) {
  const { engine, serverName, signingKey } = at;
  const { snapshotNids, eventNids } = engine.writing;
  const verifier = createVerifier(
    new Map([
      [remote.name, remote.key],
      [serverName, signingKey],
    ]),
  );
  const resolver = createStateResolver({ database, snapshotNids, runner: createResolutionRunner() });
  const policing = createNoPolicing(serverName);
  const parts = { database, engine, eventNids, resolver, verifier, serverName, policing };
  return createRoomImporter({ ...parts, clock: systemClock, receiving: new KeyedQueue() });
}

interface Given {
  readonly state: Iterable<JsonValue> | AsyncIterable<JsonValue>;
  readonly authChain?: Iterable<JsonValue>;
  readonly joinEvent: JsonValue;
  readonly partial?: ReadonlySet<ServerName>;
}

const importInto = (at: TestEngine, { authChain = [], partial, ...given }: Given): Promise<ImportResult> =>
  createImporter(at).importRoom({ ...given, roomId: ROOM, version: VERSION, via: remote.name, authChain, partial });

test('A3, A20: bad events among the state are left out alone; without its create event there is no room', async () => {
  await using at = await createTestEngine();
  const base = makeBase();
  const join = makeJoin(at, base).pdu;
  const fine = [base.create, base.creator, base.power, base.rules].map(({ pdu }) => pdu);
  const missing = await importInto(at, { state: fine.slice(1), joinEvent: join });
  assert.ok(!missing.imported);
  assert.equal(await at.engine.loadSnapshot(ROOM), undefined);
  const auth = [base.create.eventId, base.power.eventId, base.rules.eventId];
  const unsigned = { ...makeMember(remote.user('forged'), auth).pdu, signatures: {} };
  const unallowed = make({ type: 'm.room.topic', sender: remote.user('nobody'), stateKey: '', content: {}, auth }).pdu;
  const elsewhere = { ...base.rules.pdu, room_id: '!other:remote.example' };
  const resting = makeMember(remote.user('resting'), [...auth, `$${'B'.repeat(43)}` as EventId]).pdu;
  const state = [null, {}, unsigned, unallowed, elsewhere, resting, ...fine];
  const imported = await importInto(at, { state, joinEvent: join });
  assert.ok(imported.imported);
  const snapshot = await at.engine.loadSnapshot(ROOM);
  assert.equal(snapshot?.stateCount, 5);
  assert.equal(snapshot?.membershipOf(BOB), 'join');
});

test('A3: a join that the state does not allow, or that is not ours to make, brings no room', async () => {
  await using at = await createTestEngine();
  const base = makeBase();
  const state = [base.create, base.creator, base.power].map(({ pdu }) => pdu);
  const uninvited = await importInto(at, { state, joinEvent: makeJoin(at, base).pdu });
  assert.ok(!uninvited.imported);
  const forged = { ...makeJoin(at, base).pdu, signatures: {} };
  const unsigned = await importInto(at, { state: [...state, base.rules.pdu], joinEvent: forged });
  assert.ok(!unsigned.imported);
  assert.equal(await at.engine.loadSnapshot(ROOM), undefined);
});

test('A3: verdicts rest on the create event of the state, whatever other one came before', async () => {
  await using at = await createTestEngine();
  const base = makeBase();
  const mallory = remote.user('mallory');
  const content = { room_version: '11' };
  const other = make({ type: 'm.room.create', sender: mallory, stateKey: '', content, auth: [] });
  const usurper = makeMember(mallory, [other.eventId]);
  const state = [base.create, base.creator, base.power, base.rules].map(({ pdu }) => pdu);
  const authChain = [other, usurper].map(({ pdu }) => pdu);
  const imported = await importInto(at, { state, authChain, joinEvent: makeJoin(at, base).pdu });
  assert.ok(imported.imported);
  assert.equal((await at.engine.loadSnapshot(ROOM))?.stateCount, 5);
  const known = await loadKnownEvents(at.db.database, VERSION, [other.eventId, usurper.eventId]);
  assert.deepEqual(
    known.map(({ rejection }) => rejection !== undefined),
    [true, true],
  );
});

test('events that somebody else stored meanwhile are cited by the numbers that they have', async () => {
  await using at = await createTestEngine();
  const { database } = at.db;
  const base = makeBase();
  const nid = await at.engine.writing.eventNids.take();
  const { pdu } = base.power;
  const outlier = { stateBefore: null, stateAfter: null, authNids: [], outlier: true, softFailed: false };
  let isFirst = true;
  const crossed: Database = {
    transaction: (work) => database.transaction(work),
    async query(statement) {
      if (isFirst && statement.text.includes('insert into events')) {
        isFirst = false;
        const pduText = encodeCanonicalJson(pdu);
        await insertUnplaced(database, [{ ...outlier, nid, event: base.power, pduText, rejection: undefined }]);
      }
      return database.query(statement);
    },
  };
  const state = [base.create, base.creator, base.power, base.rules];
  const request = { authChain: [], joinEvent: makeJoin(at, base).pdu, partial: undefined };
  const result = await createImporter(at, crossed).importRoom({
    ...request,
    roomId: ROOM,
    version: VERSION,
    via: remote.name,
    state: state.map((event) => event.pdu),
  });
  assert.ok(result.imported);
  const rows = await database.query(sql<{ event_id: EventId; event_nid: number; auth_nids: readonly number[] }>`
    select event_id, event_nid, auth_nids from events where room_id = ${ROOM}`);
  const nidOf = new Map(rows.map((row) => [row.event_id, row.event_nid]));
  assert.equal(nidOf.get(base.power.eventId), nid);
  const rules = rows.find((row) => row.event_id === base.rules.eventId);
  assert.deepEqual(new Set(rules?.auth_nids), new Set(base.rules.authEvents.map((id) => nidOf.get(id))));
});

test('a partial state is marked as one', async () => {
  await using at = await createTestEngine();
  const base = makeBase();
  const state = [base.create, base.creator, base.power, base.rules].map(({ pdu }) => pdu);
  await importInto(at, { state, joinEvent: makeJoin(at, base).pdu, partial: new Set([remote.name]) });
  const rows = await at.db.database.query(sql<{ joined_via: string }>`select joined_via from partial_state_rooms`);
  assert.deepEqual(rows, [{ joined_via: remote.name }]);
});

test(`a room of ${MEMBERS} members with ${MEMBERS * RENAMES} auth events passes through`, async (context) => {
  await using at = await createTestEngine();
  const base = makeBase();
  const auth = [base.create.eventId, base.power.eventId, base.rules.eventId];
  // Made while they are taken in, so that what is measured is not the test's own.
  const latest = new Map<string, EventId>();
  function* authChain(): Iterable<JsonValue> {
    for (const event of [base.create, base.creator, base.power, base.rules]) yield event.pdu;
    for (let round = 0; round < RENAMES; round++) {
      for (let index = 0; index < MEMBERS; index++) {
        const user = remote.user(`u${index}`);
        const before = latest.get(user);
        const event = makeMember(user, before === undefined ? auth : [...auth, before], `${round}`);
        latest.set(user, event.eventId);
        yield event.pdu;
      }
    }
  }
  function* state(): Iterable<JsonValue> {
    for (const event of [base.create, base.creator, base.power, base.rules]) yield event.pdu;
    for (const [user, before] of latest) yield makeMember(user, [...auth, before], 'now').pdu;
  }
  let peak = 0;
  const before = process.memoryUsage().rss;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss - before);
  }, 20);
  const started = performance.now();
  const result = await importInto(at, { authChain: authChain(), state: state(), joinEvent: makeJoin(at, base).pdu });
  clearInterval(watch);
  context.diagnostic(`${Math.round(performance.now() - started)} ms, ${Math.round(peak / 1e6)} MB more`);
  assert.ok(result.imported);
  assert.ok(peak < MAX_MORE_BYTES, `${peak} bytes`);
  const snapshot = await at.engine.loadSnapshot(ROOM);
  assert.equal(snapshot?.joinedCount, MEMBERS + 2);
  await at.engine.send({ roomId: ROOM, decide: () => [message('hello', BOB)] });
  const again = await at.restart();
  assert.equal((await again.engine.loadSnapshot(ROOM))?.joinedCount, MEMBERS + 2);
});
