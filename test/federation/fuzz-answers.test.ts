/**
 * Everything that ours asks of other servers, answered with anything: whatever comes, its own users get no answer that
 * blames it, nothing is logged as a fault, and the next right answer is taken.
 *
 *   node test/federation/fuzz-answers.test.ts [--runs 1000] [--seed 4711]
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { sql } from '../../src/storage/sql.ts';
import { assertNoFault, type FuzzScene, fuzzing, startFuzzScene } from '../support/fuzz-federation.ts';
import { textAt } from '../support/json.ts';
import { type Mangling, manglings } from '../support/mangle.ts';
import { inRoom } from '../support/pair.ts';
import type { RemoteRoom } from '../support/remote-room.ts';
import { askAs, signEvent } from '../support/signed-requests.ts';
import { until } from '../support/until.ts';

/** For each question. */
const RUNS = 12;
const VERSIONS = ['1', '6', '10', '11'];

const stack = new AsyncDisposableStack();
let scene: FuzzScene;
/** Alice's, where the peer's users are invited. */
let ownRoom: string;

before(async () => {
  scene = stack.use(await startFuzzScene());
  ownRoom = textAt(await scene.alice.ok('POST', '/createRoom', { room_version: '11' }), 'room_id');
});

after(() => stack.disposeAsync());

let count = 0;
const next = (): number => count++;
const peerName = (): string => scene.peer.server.serverName;

async function call(method: string, path: string, body?: object): Promise<number> {
  return (await scene.alice.call(method, path, body)).status;
}

/** What comes need not be JSON. */
async function get(path: string): Promise<number> {
  const headers = { authorization: `Bearer ${scene.alice.token}` };
  const answer = await fetch(`${scene.here.url}${path}`, { headers });
  await answer.arrayBuffer();
  return answer.status;
}

const createRoom = (joinRule?: string): RemoteRoom =>
  scene.peer.createRoom(VERSIONS[next() % VERSIONS.length] ?? '11', joinRule);

const enter = (how: 'join' | 'knock', { roomId }: RemoteRoom): Promise<number> =>
  call('POST', `/${how}/${encodeURIComponent(roomId)}?via=${encodeURIComponent(peerName())}`, {});

const leave = ({ roomId }: RemoteRoom): Promise<number> => call('POST', inRoom(roomId, '/leave'), {});

/** A room of the peer's in which Alice is: the peer has history of it that ours has not. */
async function joined(): Promise<RemoteRoom> {
  const room = createRoom();
  assert.equal(await enter('join', room), 200);
  scene.peer.learnJoin(room);
  return room;
}

/** A room of the peer's that Alice is invited to. */
async function invited(): Promise<RemoteRoom> {
  const { peer, here, alice } = scene;
  const room = createRoom('invite');
  const ids = room.version.eventIds === 'server' ? { event_id: `$i${next()}:${peerName()}` } : {};
  const { pdu, eventId } = signEvent(peer.server, room.version, {
    room_id: room.roomId,
    sender: peer.eve,
    state_key: alice.userId,
    content: { membership: 'invite' },
    ...ids,
  });
  const path = `/_matrix/federation/v2/invite/${encodeURIComponent(room.roomId)}/${encodeURIComponent(eventId)}`;
  const body = { room_version: room.version.id, event: pdu, invite_room_state: [] };
  assert.equal((await askAs(peer.server, here, { method: 'PUT', path, body })).status, 200);
  return room;
}

/** Sends an event that follows others which have to be asked for, and waits until it was worked on. */
async function sendBehindGap(room: RemoteRoom): Promise<number> {
  const { peer, here } = scene;
  for (let index = 0; index < 3; index++) room.message(peer.eve, `in the gap ${index}`);
  room.add({ type: 'm.room.topic', sender: peer.eve, stateKey: '', content: { topic: 'gap' } });
  const last = room.message(peer.eve, 'after the gap');
  const body = { origin: peerName(), origin_server_ts: 1, pdus: [last.pdu] };
  const path = `/_matrix/federation/v1/send/gap${next()}`;
  const { status } = await askAs(peer.server, here, { method: 'PUT', path, body });
  await until(async () => {
    const rows = await here.test.database.query(sql<{ room_id: string }>`select room_id from inbound_pdus`);
    return rows.length === 0;
  });
  return status;
}

interface Exchange {
  readonly name: string;
  /** Part of the path whose answers are mangled. */
  readonly endpoint: string;
  /** What has to be there before; its exchanges are as they should be. */
  readonly prepare?: () => Promise<RemoteRoom> | RemoteRoom;
  readonly ask: (room: RemoteRoom) => Promise<number>;
  /** The first version of the endpoint. */
  readonly isOld?: boolean;
  /** Makes the question necessary: what is asked before is not known. */
  readonly hides?: string;
}

/** Until the peer was sent something. */
async function say(room: RemoteRoom): Promise<number> {
  const { peer, here } = scene;
  const countSent = (): number => peer.server.requests.filter((one) => one.includes('/send/')).length;
  const before = countSent();
  const path = inRoom(room.roomId, `/send/m.room.message/${next()}`);
  const status = await call('PUT', path, { msgtype: 'm.text', body: 'hello' });
  // Whoever is heard from is left alone no longer.
  const body = { origin: peerName(), origin_server_ts: 1, pdus: [] };
  await askAs(peer.server, here, { method: 'PUT', path: `/_matrix/federation/v1/send/heard${next()}`, body });
  await until(async () => countSent() > before);
  return status;
}

const EXCHANGES: readonly Exchange[] = [
  {
    name: 'query/profile',
    endpoint: '/query/profile',
    ask: () => call('GET', `/profile/${encodeURIComponent(scene.peer.eve)}`),
  },
  {
    name: 'query/directory',
    endpoint: '/query/directory',
    ask: () => call('GET', `/directory/room/${encodeURIComponent(`#x${next()}:${peerName()}`)}`),
  },
  { name: 'publicRooms', endpoint: '/publicRooms', ask: () => call('GET', `/publicRooms?server=${peerName()}`) },
  {
    name: 'hierarchy',
    endpoint: '/hierarchy/',
    ask: ({ roomId }) => get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/hierarchy`),
  },
  {
    name: 'timestamp_to_event',
    endpoint: '/timestamp_to_event/',
    prepare: joined,
    ask: ({ roomId }) => get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=1&dir=f`),
  },
  {
    name: 'invite',
    endpoint: '/invite/',
    ask: () => call('POST', inRoom(ownRoom, '/invite'), { user_id: `@u${next()}:${peerName()}` }),
  },
  { name: 'make_join', endpoint: '/make_join/', ask: (room) => enter('join', room) },
  { name: 'send_join', endpoint: '/send_join/', ask: (room) => enter('join', room) },
  { name: 'send_join, version 1', endpoint: '/v1/send_join/', isOld: true, ask: (room) => enter('join', room) },
  { name: 'make_knock', endpoint: '/make_knock/', prepare: () => createKnocked(), ask: (room) => enter('knock', room) },
  { name: 'send_knock', endpoint: '/send_knock/', prepare: () => createKnocked(), ask: (room) => enter('knock', room) },
  { name: 'make_leave', endpoint: '/make_leave/', prepare: invited, ask: leave },
  { name: 'send_leave', endpoint: '/send_leave/', prepare: invited, ask: leave },
  { name: 'send_leave, version 1', endpoint: '/v1/send_leave/', isOld: true, prepare: invited, ask: leave },
  { name: 'get_missing_events', endpoint: '/get_missing_events/', prepare: joined, ask: sendBehindGap },
  { name: 'state_ids', endpoint: '/state_ids/', hides: '/get_missing_events/', prepare: joined, ask: sendBehindGap },
  { name: 'event', endpoint: '/event/', hides: '/get_missing_events/', prepare: joined, ask: sendBehindGap },
  {
    name: 'backfill',
    endpoint: '/backfill/',
    prepare: joined,
    ask: ({ roomId }) => call('GET', inRoom(roomId, '/messages?dir=b&limit=50')),
  },
  { name: 'send', endpoint: '/send/', prepare: joined, ask: say },
  {
    name: 'media/download',
    endpoint: '/media/download/',
    ask: () => get(`/_matrix/client/v1/media/download/${peerName()}/m${next()}`),
  },
  {
    name: 'media/thumbnail',
    endpoint: '/media/',
    ask: () => get(`/_matrix/client/v1/media/thumbnail/${peerName()}/m${next()}?width=32&height=32`),
  },
];

/** The first versions know no knocking. */
const createKnocked = (): RemoteRoom => scene.peer.createRoom('11', 'knock');

async function play({ endpoint, hides, isOld = false, prepare, ask }: Exchange, mangle?: Mangling) {
  const { peer } = scene;
  const room = (await prepare?.()) ?? createRoom();
  let asked = 0;
  peer.isOld = isOld;
  peer.change = (path, answer) => {
    if (hides !== undefined && path.includes(hides)) return { ...answer, body: '{"events":[]}' };
    if (!path.includes(endpoint)) return answer;
    asked += 1;
    return mangle?.(answer) ?? answer;
  };
  try {
    return { status: await ask(room), asked };
  } finally {
    peer.isOld = false;
    peer.change = (_path, answer) => answer;
  }
}

for (const exchange of EXCHANGES) {
  const { numRuns, seed } = fuzzing(RUNS);
  test(`L7: ${exchange.name}, answered with anything (seed ${seed})`, async () => {
    const known = scene.faults.length;
    const good = await play(exchange);
    // A picture that is none has no thumbnail.
    assert.equal(good.status, exchange.name === 'media/thumbnail' ? 400 : 200);
    assert.ok(good.asked > 0, 'it is asked at all');
    await fc.assert(
      fc.asyncProperty(manglings, async (mangle) => {
        const { status } = await play(exchange, mangle);
        assertNoFault(status, exchange.name);
        assert.deepEqual(scene.faults.slice(known), []);
      }),
      { numRuns, seed },
    );
    const { status } = await play(exchange);
    assert.equal(status, good.status, 'a right answer is taken');
  });
}

test('the server is as it was', async (t) => {
  const { alice, faults } = scene;
  const { status, body } = await alice.call('GET', '/sync');
  assert.equal(status, 200);
  assert.ok(body);
  assert.equal(await say(await joined()), 200);
  assert.deepEqual(faults, []);
  t.diagnostic(scene.describeStall());
});
