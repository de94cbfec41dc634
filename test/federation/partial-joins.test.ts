/**
 * Joins of rooms whose members come later (docs/adr/0019-partial-rooms.md): what works before they are here, who waits, and
 * that in the end the room is what it would have been from the start.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { EventId } from '../../src/protocol/ids.ts';
import type { Event } from '../../src/protocol/pdu.ts';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { type ScriptedResident, startScriptedResident } from '../support/scripted-resident.ts';
import { askAs, sendPdus } from '../support/signed-requests.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let alice: TestClient;
let users = 0;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  alice = await here.register('alice');
});

after(() => stack.disposeAsync());

const LAZY = encodeURIComponent(JSON.stringify({ room: { state: { lazy_load_members: true } } }));

interface Scene extends AsyncDisposable {
  readonly resident: ScriptedResident;
  readonly room: string;
  /** Lets the members come. */
  readonly release: () => void;
}

/** A room of Eve's with two more members, which Alice has joined; its members come when they are let. */
async function joinPartially(prepare: (resident: ScriptedResident) => void = () => undefined): Promise<Scene> {
  const resident = await startScriptedResident(authority);
  resident.room.member(resident.remote.user('derek'), 'join');
  resident.room.member(resident.remote.user('fay'), 'join');
  resident.omitsMembers = true;
  const gate = Promise.withResolvers<void>();
  resident.giveState = async (answer) => {
    await gate.promise;
    return answer;
  };
  prepare(resident);
  await join(alice, resident);
  const room = encodeURIComponent(resident.room.roomId);
  return {
    resident,
    room,
    release: () => gate.resolve(),
    async [Symbol.asyncDispose]() {
      gate.resolve();
      await alice.call('GET', `/rooms/${room}/members`);
      await alice.call('POST', `/rooms/${room}/leave`, {});
      await resident[Symbol.asyncDispose]();
    },
  };
}

const join = (client: TestClient, { room, server }: ScriptedResident): Promise<unknown> =>
  client.ok('POST', `/join/${encodeURIComponent(room.roomId)}?via=${encodeURIComponent(server.serverName)}`, {});

/** What the resident was told of ours becomes part of its room. */
function learnJoin({ room, joins }: ScriptedResident): Event {
  const pdu = joins.at(-1);
  assert.ok(pdu);
  return room.learnPdu(pdu);
}

const give = (resident: ScriptedResident, ...events: readonly Event[]): Promise<unknown> =>
  sendPdus(
    resident.server,
    here,
    events.map(({ pdu }) => pdu),
  );

const wasAsked = ({ server }: ScriptedResident, path: string): boolean =>
  server.requests.some((request) => request.includes(path));

/** Status and error of what the resident asks of us. */
const askHere = async ({ resident }: Scene, path: string): Promise<readonly unknown[]> => {
  const { status, body } = await askAs(resident.server, here, { path: `/_matrix/federation/v1/${path}` });
  return [status, at(body, 'errcode')];
};

const syncRoom = async (client: TestClient, { resident }: Scene, query: string): Promise<unknown> =>
  at(await client.ok('GET', `/sync?${query}`), 'rooms', 'join', resident.room.roomId);

const sawEvent = async (scene: Scene, eventId: EventId): Promise<boolean> =>
  (await alice.call('GET', `/rooms/${scene.room}/event/${encodeURIComponent(eventId)}`)).status === 200;

const membersOf = async ({ room }: Scene, client = alice): Promise<readonly string[]> => {
  const { chunk } = (await client.ok('GET', `/rooms/${room}/members`)) as { chunk: readonly unknown[] };
  return chunk.map((event) => `${textAt(event, 'state_key')} ${textAt(event, 'content', 'membership')}`).sort();
};

const stateIdsHere = async ({ resident }: Scene): Promise<ReadonlySet<string>> => {
  const rows = await here.test.database.query(sql<{ event_id: string }>`
    select e.event_id from current_state c join events e using (event_nid) where c.room_id = ${resident.room.roomId}`);
  return new Set(rows.map((row) => row.event_id));
};

const stateIdsThere = ({ room }: ScriptedResident): ReadonlySet<string> =>
  new Set([...room.stateAfter(room.newest).values()].map(({ eventId }) => eventId));

describe('before the members are here', () => {
  test('the room is there for who loads members lazily, and for all others when it is whole', async () => {
    await using scene = await joinPartially();
    const { resident } = scene;
    learnJoin(resident);
    const lazy = await syncRoom(alice, scene, `timeout=0&filter=${LAZY}`);
    const events = [...listAt(lazy, 'state', 'events'), ...listAt(lazy, 'timeline', 'events')];
    assert.ok(events.some((event) => at(event, 'type') === 'm.room.name'));
    const eager = await alice.ok('GET', '/sync?timeout=0');
    assert.equal(at(eager, 'rooms', 'join', resident.room.roomId), undefined);
    const since = encodeURIComponent(textAt(eager, 'next_batch'));
    const waiting = syncRoom(alice, scene, `timeout=20000&since=${since}`);
    scene.release();
    const whole = await waiting;
    const members = listAt(whole, 'state', 'events').filter((event) => at(event, 'type') === 'm.room.member');
    assert.ok(members.some((event) => at(event, 'state_key') === resident.remote.user('derek')));
    assert.equal(at(whole, 'summary', 'm.joined_member_count'), 4);
  });

  test('messages go out and come in, and their senders are known', async () => {
    await using scene = await joinPartially();
    const { resident, room } = scene;
    learnJoin(resident);
    await alice.ok('PUT', `/rooms/${room}/send/m.room.message/1`, { msgtype: 'm.text', body: 'Hello' });
    await until(async () => wasAsked(resident, '/send/'));
    const derek = resident.remote.user('derek');
    const message = resident.room.message(derek, 'Hello yourself');
    await give(resident, message);
    await until(() => sawEvent(scene, message.eventId));
    const lazy = await syncRoom(alice, scene, `timeout=0&filter=${LAZY}`);
    const named = listAt(lazy, 'state', 'events').map((event) => at(event, 'state_key'));
    assert.ok(named.includes(derek));
    assert.ok(!named.includes(resident.remote.user('fay')));
  });

  test('who needs all members waits, other servers are not told of the state, and nobody joins by way of us', async () => {
    await using scene = await joinPartially();
    const { resident } = scene;
    const own = learnJoin(resident);
    let isAnswered = false;
    const members = membersOf(scene).finally(() => {
      isAnswered = true;
    });
    await until(async () => wasAsked(resident, '/state_ids/'));
    assert.ok(!isAnswered);
    assert.deepEqual(await askHere(scene, `state_ids/${scene.room}?event_id=${encodeURIComponent(own.eventId)}`), [
      403,
      'M_FORBIDDEN',
    ]);
    const user = encodeURIComponent(resident.remote.user('gil'));
    for (const way of ['make_join', 'make_knock']) {
      assert.deepEqual(await askHere(scene, `${way}/${scene.room}/${user}?ver=10`), [404, 'M_NOT_FOUND']);
    }
    scene.release();
    const remote = (name: string): string => `${resident.remote.user(name)} join`;
    const expected = [`${alice.userId} join`, remote('derek'), remote('eve'), remote('fay')].sort();
    assert.deepEqual(await members, expected);
    assert.deepEqual(await stateIdsHere(scene), stateIdsThere(resident));
  });

  test('a member who speaks right after a change of state is added to that state', async () => {
    await using scene = await joinPartially();
    const { resident } = scene;
    const { remote, eve } = resident;
    learnJoin(resident);
    const topic = resident.room.add({ type: 'm.room.topic', sender: eve, stateKey: '', content: { topic: 'New' } });
    const message = resident.room.message(remote.user('derek'), 'Nice');
    await give(resident, topic, message);
    await until(() => sawEvent(scene, message.eventId));
    const [state] = await here.test.database.query(sql<{ height: number }>`
      select s.height from events e join state_snapshots s on s.snapshot_nid = e.state_after
      where e.event_id = ${message.eventId}`);
    // Of the state given, with the join, with Eve, with the topic, with Derek.
    assert.equal(state?.height, 5);
  });

  test('A11: members of another room are not taken for those of this one', async () => {
    await using other = await startScriptedResident(authority);
    await join(alice, other);
    await using scene = await joinPartially();
    const { resident } = scene;
    const { room, eve } = resident;
    learnJoin(resident);
    const stranger = other.room.current('m.room.member', other.eve);
    const auth = [...room.current('m.room.name').authEvents, stranger.eventId];
    const forged = room.make({ type: 'm.room.message', sender: eve, content: { body: 'forged' }, auth });
    room.hide(forged);
    const last = room.message(eve, 'last');
    await give(resident, forged, last);
    await until(() => sawEvent(scene, last.eventId));
    assert.ok(!(await sawEvent(scene, forged.eventId)));
    assert.ok(!(await stateIdsHere(scene)).has(stranger.eventId));
    await alice.ok('POST', `/rooms/${encodeURIComponent(other.room.roomId)}/leave`, {});
  });

  test('a second user joins by way of a server that knows whether they may', async () => {
    await using scene = await joinPartially();
    const { resident } = scene;
    learnJoin(resident);
    users += 1;
    const bob = await here.register(`second${users}`);
    await join(bob, resident);
    assert.equal(resident.joins.length, 2);
    learnJoin(resident);
    scene.release();
    assert.ok((await membersOf(scene)).includes(`${bob.userId} join`));
    assert.deepEqual(await stateIdsHere(scene), stateIdsThere(resident));
    await bob.ok('POST', `/rooms/${scene.room}/leave`, {});
  });

  test('a user leaves, and comes back, without waiting', async () => {
    await using scene = await joinPartially();
    const { resident, room } = scene;
    learnJoin(resident);
    await alice.ok('POST', `/rooms/${room}/leave`, {});
    await join(alice, resident);
    learnJoin(resident);
    scene.release();
    assert.ok((await membersOf(scene)).includes(`${alice.userId} join`));
  });
});

describe('when the members are here', () => {
  test('what was let in for lack of a state is refused, and what was refused for it is let in', async () => {
    await using scene = await joinPartially(({ room, remote, eve }) => {
      const levels = { users: { [eve]: 100, [remote.user('derek')]: 100, [remote.user('fay')]: 50 } };
      room.add({ type: 'm.room.power_levels', sender: eve, stateKey: '', content: levels });
      room.member(remote.user('derek'), 'leave');
    });
    const { resident } = scene;
    const { room, remote } = resident;
    const derek = remote.user('derek');
    const fay = remote.user('fay');
    learnJoin(resident);
    const member = (userId: string, membership: string): EventId => {
      const found = [...room.events.values()].find(({ stateKey, content }) => {
        return stateKey === userId && content['membership'] === membership;
      });
      assert.ok(found);
      return found.eventId;
    };
    const state = (type: string): EventId => room.current(type).eventId;
    const base = [state('m.room.create'), state('m.room.power_levels')];
    // Of one who has left already, as only the whole state shows.
    const kick = room.make({
      type: 'm.room.member',
      sender: derek,
      stateKey: fay,
      content: { membership: 'leave' },
      auth: [...base, member(derek, 'join'), member(fay, 'join')],
    });
    room.hide(kick);
    const topic = room.make({
      type: 'm.room.topic',
      sender: fay,
      stateKey: '',
      content: { topic: 'Still here' },
      prev: [kick.eventId],
      auth: [...base, member(fay, 'join')],
    });
    room.learn(topic);
    const last = room.message(resident.eve, 'last');
    await give(resident, kick, topic, last);
    await until(() => sawEvent(scene, last.eventId));
    assert.ok(await sawEvent(scene, kick.eventId));
    assert.ok(!(await sawEvent(scene, topic.eventId)));
    scene.release();
    assert.ok((await membersOf(scene)).includes(`${fay} join`));
    assert.ok(!(await sawEvent(scene, kick.eventId)));
    assert.ok(await sawEvent(scene, topic.eventId));
    assert.deepEqual(await stateIdsHere(scene), stateIdsThere(resident));
  });

  test('A26: a state without bans and power levels does not undo those that are known', async () => {
    await using scene = await joinPartially((resident) => {
      const { giveState } = resident;
      resident.giveState = async (answer) => {
        const given = await giveState(answer);
        if (typeof given === 'number') return given;
        const left = (id: unknown): boolean => id !== resident.room.current('m.room.power_levels').eventId;
        const ids = listAt(given, 'pdu_ids') as string[];
        return { ...given, pdu_ids: ids.filter(left) };
      };
    });
    const { resident, room } = scene;
    learnJoin(resident);
    const ban = resident.room.add({
      type: 'm.room.member',
      sender: resident.eve,
      stateKey: resident.remote.user('derek'),
      content: { membership: 'ban' },
    });
    await give(resident, ban);
    await until(() => sawEvent(scene, ban.eventId));
    scene.release();
    assert.ok((await membersOf(scene)).includes(`${resident.remote.user('derek')} ban`));
    const levels = await alice.ok('GET', `/rooms/${room}/state/m.room.power_levels`);
    assert.deepEqual(at(levels, 'users'), { [resident.eve]: 100 });
  });
});

describe('fetching the members', () => {
  test('goes on after a restart', async () => {
    await using server = await startHomeserver({ authority });
    await using resident = await startScriptedResident(authority);
    resident.room.member(resident.remote.user('derek'), 'join');
    resident.omitsMembers = true;
    resident.giveState = () => 500;
    const bob = await server.register('bob');
    await join(bob, resident);
    learnJoin(resident);
    await until(async () => wasAsked(resident, '/state_ids/'));
    await server.stop();
    resident.giveState = (answer) => answer;
    await server.start();
    const answer = await bob.ok('GET', `/rooms/${encodeURIComponent(resident.room.roomId)}/members`);
    assert.equal(listAt(answer, 'chunk').length, 3);
    const [left] = await server.test.database.query(sql<{ rooms: number }>`
      select count(*) as rooms from partial_state_rooms`);
    assert.equal(left?.rooms, 0);
  });

  test('is done by another server where the first gives nothing of use', async () => {
    await using there = await startHomeserver({ authority });
    await using resident = await startScriptedResident(authority);
    const { room, server } = resident;
    const path = `/rooms/${encodeURIComponent(room.roomId)}`;
    room.member(resident.remote.user('derek'), 'join');
    resident.omitsMembers = true;
    const carol = await there.register('carol');
    await join(carol, resident);
    learnJoin(resident);
    await carol.ok('GET', `${path}/members`);
    resident.answer = (answer) => ({ ...answer, servers_in_room: [server.serverName, there.serverName] });
    resident.giveState = () => ({});
    await join(alice, resident);
    // Who is not known to be in the room is told nothing of it.
    await sendPdus(server, there, [learnJoin(resident).pdu]);
    const answer = await alice.ok('GET', `${path}/members`);
    assert.equal(listAt(answer, 'chunk').length, 4);
    await alice.ok('POST', `${path}/leave`, {});
  });
});
