/**
 * Joins by way of servers that lie: what is signed, what is believed, and what stays behind when nothing is.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { encodeCanonicalJson } from '../../src/protocol/canonical-json.ts';
import { createEvent } from '../../src/protocol/event.ts';
import { isJsonObject } from '../../src/protocol/json-value.ts';
import type { Event, JsonObject, JsonValue, Pdu } from '../../src/protocol/pdu.ts';
import { signRequest } from '../../src/protocol/request-signing.ts';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import {
  call,
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';
import {
  type JoinAnswer,
  ScriptedError,
  type ScriptedResident,
  startScriptedResident,
  type TemplateAnswer,
} from '../support/scripted-resident.ts';
import { spoil, spoilings } from '../support/spoil.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let alice: TestClient;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  alice = await here.register('alice');
});

after(() => stack.disposeAsync());

const join = ({ room, server }: ScriptedResident, client = alice) =>
  client.call('POST', `/join/${encodeURIComponent(room.roomId)}?via=${encodeURIComponent(server.serverName)}`, {});

/** How many rows of the room there are, wherever they could be. */
async function rowsOf({ room }: ScriptedResident): Promise<number> {
  const [row] = await here.test.database.query(sql<{ rows: number }>`
    select (select count(*) from events where room_id = ${room.roomId})
      + (select count(*) from rooms where room_id = ${room.roomId})
      + (select count(*) from current_state where room_id = ${room.roomId})
      + (select count(*) from memberships where room_id = ${room.roomId})
      + (select count(*) from state_snapshots where room_id = ${room.roomId}) as rows`);
  return row?.rows ?? Number.NaN;
}

const stateOf = async ({ room }: ScriptedResident): Promise<readonly string[]> => {
  const state = await alice.ok('GET', `/rooms/${encodeURIComponent(room.roomId)}/state`);
  return listAt(state).map((event) => `${textAt(event, 'type')} ${textAt(event, 'state_key')}`);
};

const withEvent =
  (change: JsonObject) =>
  ({ event, ...answer }: TemplateAnswer): JsonObject => ({ ...answer, event: { ...event, ...change } });

const withContent =
  (change: JsonObject) =>
  ({ event, ...answer }: TemplateAnswer): JsonObject => ({
    ...answer,
    event: { ...event, content: { membership: 'join', ...change } },
  });

const EVENT_ID = `$${'a'.repeat(43)}`;

describe('A2: a template of something else is not signed', () => {
  const templates: Readonly<Record<string, ScriptedResident['template']>> = {
    'another type': withEvent({ type: 'm.room.power_levels' }),
    'no type': withEvent({ type: null }),
    'another sender': withEvent({ sender: '@admin:example.org' }),
    'another state key': withEvent({ state_key: '' }),
    'another room': withEvent({ room_id: '!other:example.org' }),
    'a leave': withContent({ membership: 'leave' }),
    'a ban': withContent({ membership: 'ban' }),
    'no content': withEvent({ content: 'join' }),
    'an unknown room version': (answer) => ({ ...answer, room_version: 'evil.99' }),
    'a room version that is no text': (answer) => ({ ...answer, room_version: 10 }),
    'no event': ({ event: _event, ...answer }) => answer,
    'A18: a depth beyond all numbers': withEvent({ depth: 2 ** 53 }),
    'A18: a negative depth': withEvent({ depth: -1 }),
    'A18: a depth that is text': withEvent({ depth: '1' }),
    'A18: a depth between two numbers': withEvent({ depth: 1.5 }),
    'no prev events': withEvent({ prev_events: [] }),
    'too many prev events': withEvent({
      prev_events: Array.from({ length: 21 }, (_, index) => `$${String(index).padStart(43, 'x')}`),
    }),
    'prev events that are none': withEvent({ prev_events: [{ a: 'b' }] }),
    'one auth event twice': withEvent({ auth_events: [EVENT_ID, EVENT_ID] }),
    'auth events that are no list': withEvent({ auth_events: 'all' }),
    'somebody of another server who vouches': withContent({ join_authorised_via_users_server: '@admin:example.org' }),
    'somebody of ours who vouches': (answer) => withContent({ join_authorised_via_users_server: alice.userId })(answer),
    'nobody who vouches': withContent({ join_authorised_via_users_server: 7 }),
  };
  for (const [name, template] of Object.entries(templates)) {
    test(name, async () => {
      await using resident = await startScriptedResident(authority);
      resident.template = template;
      const { status, body } = await join(resident);
      assert.deepEqual([status, at(body, 'errcode')], [502, 'M_UNKNOWN']);
      assert.deepEqual(resident.joins, [], 'nothing that is signed has left');
      assert.equal(await rowsOf(resident), 0);
    });
  }

  test('of a template with more in it only its references are taken', async () => {
    await using resident = await startScriptedResident(authority);
    resident.template = ({ event, ...answer }) => ({
      ...answer,
      event: {
        ...event,
        origin_server_ts: 1,
        redacts: EVENT_ID,
        evil: true,
        unsigned: { evil: true },
        content: { membership: 'join', displayname: 'Evil', users: { '@admin:example.org': 100 } },
      },
    });
    assert.equal((await join(resident)).status, 200);
    const [sent = {}] = resident.joins;
    const keys =
      'auth_events content depth hashes origin origin_server_ts prev_events room_id sender signatures state_key type';
    assert.deepEqual(Object.keys(sent).sort().join(' '), keys);
    assert.equal(at(sent, 'content', 'users'), undefined);
    assert.notEqual(at(sent, 'content', 'displayname'), 'Evil');
    assert.ok(Number(sent['origin_server_ts']) > 1);
    assert.deepEqual(
      entriesAt(sent, 'signatures').map(([name]) => name),
      [here.serverName],
    );
  });
});

const without =
  (type: string) =>
  (answer: JoinAnswer): JsonObject => ({
    ...answer,
    state: answer.state.filter((pdu) => pdu['type'] !== type),
  });

/** An event of Eve's, changed after it was signed. */
const forged = ({ room, eve }: ScriptedResident, forge: (pdu: Pdu) => Pdu): Event =>
  room.make({ type: 'm.room.topic', sender: eve, stateKey: '', content: { topic: 'x' }, forge });

describe('A3: an answer that lies brings no room', () => {
  const answers: Readonly<Record<string, ScriptedResident['answer']>> = {
    'no create event': without('m.room.create'),
    'no join rules': without('m.room.join_rules'),
    'no state': ({ state: _state, ...answer }) => answer,
    'state that is no list': (answer) => ({ ...answer, state: { 0: 'x' } }),
    'no JSON': () => '<html>',
    'half a JSON': (answer) => JSON.stringify(answer).slice(0, -2),
    'a list': () => '[]',
    'C8: an element without an end': (answer) =>
      `{"auth_chain":[],"state":["${'x'.repeat(2_000_000)}${JSON.stringify(answer)}"]}`,
    'C1: nothing but brackets': () => `{"state":[${'['.repeat(500_000)}`,
    nothing: () => '',
    'an error': () => 500,
  };
  for (const [name, answer] of Object.entries(answers)) {
    test(name, async () => {
      await using resident = await startScriptedResident(authority);
      resident.answer = answer;
      const { status, body } = await join(resident);
      assert.deepEqual([status, at(body, 'errcode')], [502, 'M_UNKNOWN']);
      assert.equal(await rowsOf(resident), 0, 'nothing stays');
      const rooms = await alice.ok('GET', '/joined_rooms');
      assert.ok(!listAt(rooms, 'joined_rooms').includes(resident.room.roomId));
    });
  }

  test('a second create event', async () => {
    await using resident = await startScriptedResident(authority);
    const { room, eve } = resident;
    const create = { type: 'm.room.create', sender: eve, stateKey: '', prev: [] };
    const second = room.make({ ...create, content: { room_version: '10', creator: eve, second: true } });
    resident.answer = (answer) => ({ ...answer, state: [...answer.state, second.pdu] });
    assert.equal((await join(resident)).status, 502);
    assert.equal(await rowsOf(resident), 0);
  });

  test('the create event of another room or version', async () => {
    await using other = await startScriptedResident(authority);
    await using resident = await startScriptedResident(authority);
    const isCreate = ({ type }: Event): boolean => type === 'm.room.create';
    const foreign = [...other.room.events.values()].find(isCreate);
    assert.ok(foreign);
    resident.answer = (answer) => ({
      ...answer,
      state: [...answer.state.filter((pdu) => pdu['type'] !== 'm.room.create'), foreign.pdu],
    });
    assert.equal((await join(resident)).status, 502);
    assert.equal(await rowsOf(resident), 0);
    resident.answer = (answer) => answer;
    resident.template = (answer) => ({ ...answer, room_version: '9' });
    assert.equal((await join(resident)).status, 502);
    assert.equal(await rowsOf(resident), 0);
  });
});

describe('A3, A20: of an answer with bad events the others are taken', () => {
  test('A6: unsigned, wrongly signed and changed ones, those of another room, and what is no event', async () => {
    await using other = await startScriptedResident(authority);
    await using resident = await startScriptedResident(authority);
    const { eve, server } = resident;
    const bad = [
      forged(resident, (pdu) => ({ ...pdu, signatures: {} })),
      forged(resident, (pdu) => ({ ...pdu, signatures: { [server.serverName]: { 'ed25519:scripted': 'AAAA' } } })),
      forged(resident, (pdu) => ({ ...pdu, signatures: { 'other.example': pdu.signatures[server.serverName] ?? {} } })),
      forged(resident, (pdu) => ({ ...pdu, depth: 7 })),
      other.room.make({ type: 'm.room.topic', sender: other.eve, stateKey: '', content: { topic: 'other room' } }),
    ];
    const big = { type: 'm.room.big', sender: eve, content: { text: 'x'.repeat(70_000) } };
    resident.answer = (answer) => ({
      ...answer,
      state: [...bad.map(({ pdu }) => pdu), big, { type: 'm.room.x' }, ...answer.state],
    });
    assert.equal((await join(resident)).status, 200);
    const state = await stateOf(resident);
    assert.ok(!state.some((key) => key.startsWith('m.room.topic')));
    assert.ok(state.includes('m.room.name ') && state.includes(`m.room.member ${eve}`));
  });

  test('A19: a number that canonical JSON does not know spoils its event alone', async () => {
    await using resident = await startScriptedResident(authority);
    const topic = resident.room.make({ type: 'm.room.topic', sender: resident.eve, stateKey: '', content: { n: 100 } });
    resident.answer = (answer) =>
      JSON.stringify({ ...answer, state: [topic.pdu, ...answer.state] }).replace('"n":100', '"n":1e2');
    assert.equal((await join(resident)).status, 200);
    assert.ok(!(await stateOf(resident)).includes('m.room.topic '));
  });

  test('power that nobody gave is not taken over', async () => {
    await using resident = await startScriptedResident(authority);
    const { room, remote } = resident;
    const mallory = remote.user('mallory');
    const levels = room.make({
      type: 'm.room.power_levels',
      sender: mallory,
      stateKey: '',
      content: { users: { [mallory]: 100 } },
    });
    resident.answer = (answer) => ({
      ...answer,
      state: answer.state.map((pdu) => (pdu['type'] === 'm.room.power_levels' ? levels.pdu : pdu)),
    });
    const { status } = await join(resident);
    const found = status === 200 ? await stateOf(resident) : [];
    assert.ok(!found.includes('m.room.power_levels '));
  });
});

describe('what the client hears', () => {
  const refusals: readonly (readonly [number, JsonObject, number, string])[] = [
    [403, { errcode: 'M_FORBIDDEN' }, 403, 'M_FORBIDDEN'],
    [404, { errcode: 'M_NOT_FOUND' }, 404, 'M_NOT_FOUND'],
    [400, { errcode: 'M_UNABLE_TO_AUTHORISE_JOIN' }, 400, 'M_UNABLE_TO_AUTHORISE_JOIN'],
    [400, { errcode: 'M_UNABLE_TO_GRANT_JOIN' }, 400, 'M_UNABLE_TO_GRANT_JOIN'],
    [400, { errcode: 'M_INVALID_PARAM' }, 502, 'M_UNKNOWN'],
    [400, { errcode: 'M_MISSING_PARAM' }, 502, 'M_UNKNOWN'],
    [429, { errcode: 'M_LIMIT_EXCEEDED' }, 502, 'M_UNKNOWN'],
    [500, { errcode: 'M_UNKNOWN' }, 502, 'M_UNKNOWN'],
  ];
  for (const [status, answered, told, errcode] of refusals) {
    test(`${status} ${String(answered['errcode'])} is ${told} ${errcode}`, async () => {
      await using resident = await startScriptedResident(authority);
      resident.template = () => new ScriptedError(status, answered);
      const { status: heard, body } = await join(resident);
      assert.deepEqual([heard, at(body, 'errcode')], [told, errcode]);
    });
  }

  test('the version of a room that we do not support', async () => {
    await using resident = await startScriptedResident(authority);
    const error = { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: 'future' };
    resident.template = () => new ScriptedError(400, error);
    const { status, body } = await join(resident);
    assert.deepEqual([status, at(body, 'errcode'), at(body, 'room_version')], [400, error.errcode, 'future']);
  });

  test('three servers that refuse are believed, and the fourth is not asked', async () => {
    await using resident = await startScriptedResident(authority);
    await using stack = new AsyncDisposableStack();
    const refusing: ScriptedResident[] = [];
    for (let index = 0; index < 3; index++) refusing.push(stack.use(await startScriptedResident(authority)));
    for (const one of refusing) one.template = () => new ScriptedError(403, { errcode: 'M_FORBIDDEN' });
    const via = [...refusing, resident].map(({ server }) => `via=${encodeURIComponent(server.serverName)}`).join('&');
    const path = `/join/${encodeURIComponent(resident.room.roomId)}?${via}`;
    const { status, body } = await alice.call('POST', path, {});
    assert.deepEqual([status, at(body, 'errcode')], [403, 'M_FORBIDDEN']);
    assert.deepEqual(resident.server.requests, []);
  });
});

test('a server that knows the first version of the API only', async () => {
  await using resident = await startScriptedResident(authority);
  resident.isOld = true;
  assert.equal((await join(resident)).status, 200);
  assert.ok((await stateOf(resident)).includes('m.room.name '));
});

describe('an answer that is spoiled anywhere', () => {
  const KNOWN = new Set([200, 403, 404, 502]);

  test('in its template', async () => {
    await fc.assert(
      fc.asyncProperty(spoilings, async (spoiling) => {
        await using resident = await startScriptedResident(authority);
        resident.template = (answer) => asObject(spoil(answer, spoiling));
        const { status } = await join(resident);
        assert.ok(KNOWN.has(status), String(status));
        if (status !== 200) assert.equal(await rowsOf(resident), 0);
      }),
      { numRuns: 40 },
    );
  });

  test('in its state or what is around it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(spoilings, { minLength: 1, maxLength: 3 }), async (all) => {
        await using resident = await startScriptedResident(authority);
        resident.answer = (answer) => asObject(all.reduce<JsonValue>(spoil, answer));
        const { status } = await join(resident);
        assert.ok(KNOWN.has(status), String(status));
        if (status === 200) assert.ok((await stateOf(resident)).includes('m.room.create '));
        else assert.equal(await rowsOf(resident), 0);
      }),
      { numRuns: 40 },
    );
  });
});

const asObject = (value: JsonValue): JsonObject => (isJsonObject(value) ? value : { value });

describe('restricted rooms', () => {
  const joinRules = { join_rule: 'restricted', allow: [] };

  test('A3: of the event that comes back only the signature of the server that vouches is taken', async () => {
    await using resident = await startScriptedResident(authority, { joinRules });
    const { eve, server } = resident;
    resident.template = withContent({ join_authorised_via_users_server: eve });
    assert.equal((await join(resident)).status, 502, 'it has not signed');
    assert.equal(await rowsOf(resident), 0);
    resident.answer = (answer) => ({
      ...answer,
      event: { ...answer.event, signatures: { [server.serverName]: { 'ed25519:scripted': 'A'.repeat(86) } } },
    });
    assert.equal((await join(resident)).status, 502, 'its signature is wrong');
    assert.equal(await rowsOf(resident), 0);
  });
});

describe('F6: what is sent while a join is under way', () => {
  /** Holds the answer to the join until the room's server and others have sent what follows it. */
  async function sendMeanwhile(resident: ScriptedResident, senders: readonly ScriptedServer[]) {
    const { room, eve } = resident;
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    resident.answer = async (answer) => {
      await released;
      return answer;
    };
    const joining = join(resident);
    await until(async () => resident.joins.length > 0);
    const [sent] = resident.joins;
    assert.ok(sent);
    let { eventId: prev } = room.learn(createEvent(sent as Pdu, room.version));
    for (const [index, sender] of senders.entries()) {
      const message = room.message(eve, `meanwhile ${index}`, { prev: [prev] });
      prev = message.eventId;
      const answered = await sendPdu(sender, message);
      assert.deepEqual(answered, { status: 200, body: { pdus: { [message.eventId]: {} } } });
    }
    release();
    assert.equal((await joining).status, 200);
  }

  async function sendPdu({ serverName: origin, signingKey }: ScriptedServer, { eventId, pdu }: Event) {
    const path = `/_matrix/federation/v1/send/${encodeURIComponent(eventId)}`;
    const body = { origin, origin_server_ts: 1, pdus: [pdu] };
    const content = encodeCanonicalJson(body);
    const signed = { method: 'PUT', uri: path, origin, destination: here.serverName, content };
    return call(here.url, { method: 'PUT', path, body, headers: { authorization: signRequest(signed, signingKey) } });
  }

  const bodies = async ({ room }: ScriptedResident): Promise<readonly unknown[]> => {
    const { body } = await alice.call('GET', `/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b`);
    return listAt(body, 'chunk').map((event) => at(event, 'content', 'body'));
  };

  test('is there after it', async () => {
    await using resident = await startScriptedResident(authority);
    await sendMeanwhile(resident, [resident.server]);
    await until(async () => (await bodies(resident)).includes('meanwhile 0'));
  });

  test('A5: but not what a server sent that the room denies', async () => {
    await using resident = await startScriptedResident(authority);
    await using denied = await startScriptedServer(authority);
    const { room, eve } = resident;
    const acl = { allow: ['*'], deny: [denied.address], allow_ip_literals: true };
    room.add({ type: 'm.room.server_acl', sender: eve, stateKey: '', content: acl });
    await sendMeanwhile(resident, [denied]);
    const later = room.message(eve, 'later', { prev: [...room.events.keys()].slice(-2, -1) });
    await sendPdu(resident.server, later);
    await until(async () => (await bodies(resident)).includes('later'));
    assert.ok(!(await bodies(resident)).includes('meanwhile 0'));
  });
});
