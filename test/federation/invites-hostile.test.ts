/**
 * Invites that a hostile server sends, and what it answers to ours. Tests are named after rows of the security checklist.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { secureRandom } from '../../src/lib/random.ts';
import type { JsonObject, JsonValue, Pdu } from '../../src/protocol/pdu.ts';
import { redactPdu } from '../../src/protocol/redaction.ts';
import { createSigningKey, signJson } from '../../src/protocol/signing.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { versionOf } from '../support/engine.ts';
import {
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { askAs, signEvent } from '../support/signed-requests.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let peer: ScriptedServer;
let other: ScriptedServer;
let alice: TestClient;

before(async () => {
  authority = stack.use(await createTestAuthority());
  here = stack.use(await startHomeserver({ authority }));
  peer = stack.use(await startScriptedServer(authority));
  other = stack.use(await startScriptedServer(authority));
  alice = await here.register('alice');
});

after(() => stack.disposeAsync());

let rooms = 0;
const newRoom = (): string => `!room${rooms++}:${peer.serverName}`;

interface Sent {
  readonly roomId: string;
  readonly eventId: string;
  readonly event: JsonValue;
  readonly version?: string;
  readonly state?: JsonValue | undefined;
}

function put({ roomId, eventId, event, version = '11', state }: Sent, as = peer) {
  const path = `/_matrix/federation/v2/invite/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`;
  const body = { room_version: version, event, ...(state !== undefined && { invite_room_state: state }) };
  return askAs(as, here, { method: 'PUT', path, body });
}

/** An invite of Alice as it should be, but for the fields that are given. */
function makeInvite(fields: JsonObject = {}, version = '11') {
  const roomId = typeof fields['room_id'] === 'string' ? fields['room_id'] : newRoom();
  const { pdu, eventId } = signEvent(peer, versionOf(version), {
    room_id: roomId,
    state_key: alice.userId,
    content: { membership: 'invite' },
    ...fields,
  });
  return { roomId, eventId, event: pdu, version };
}

const invitesOf = async (client: TestClient): Promise<readonly string[]> =>
  Object.keys(Object(at(await client.ok('GET', '/sync'), 'rooms', 'invite')));

async function assertRefused(sent: Sent, status = 400, errcode = 'M_INVALID_PARAM'): Promise<void> {
  const answer = await put(sent);
  assert.deepEqual([answer.status, at(answer.body, 'errcode')], [status, errcode], JSON.stringify(answer.body));
  // Nothing that was signed with our key has left.
  assert.equal(JSON.stringify(answer.body).includes('"signatures":'), false);
  assert.equal((await invitesOf(alice)).includes(sent.roomId), false);
}

test('an invite is answered as it came, with a signature of ours', async () => {
  for (const version of ['1', '6', '10', '11']) {
    const own = version === '1' ? { event_id: `$${secureRandom.alphanumeric(8)}:${peer.serverName}` } : {};
    const sent = makeInvite({ ...own, origin: peer.serverName, prev_state: [] }, version);
    const { status, body } = await put({ ...sent, state: [] });
    assert.equal(status, 200, JSON.stringify(body));
    const { signatures, ...fields } = Object(at(body, 'event'));
    const { signatures: given, ...same } = sent.event;
    assert.deepEqual(fields, same);
    assert.deepEqual(at(signatures, peer.serverName), given[peer.serverName]);
    assert.equal(Object.keys(Object(at(signatures, here.serverName))).length, 1);
    assert.ok((await invitesOf(alice)).includes(sent.roomId));
    // Asked again, the answer is the same.
    assert.deepEqual((await put({ ...sent, state: [] })).body, body);
  }
});

test('version 1 of the API takes invites to rooms of old', async () => {
  const sent = makeInvite({ event_id: `$old:${peer.serverName}` }, '1');
  const path = `/_matrix/federation/v1/invite/${encodeURIComponent(sent.roomId)}/${encodeURIComponent(sent.eventId)}`;
  const { status, body } = await askAs(peer, here, { method: 'PUT', path, body: sent.event });
  assert.equal(status, 200);
  assert.equal(at(body, 0), 200);
  assert.ok(at(body, 1, 'event', 'signatures', here.serverName));
  const modern = makeInvite();
  const wrong = `/_matrix/federation/v1/invite/${encodeURIComponent(modern.roomId)}/${encodeURIComponent(modern.eventId)}`;
  assert.equal((await askAs(peer, here, { method: 'PUT', path: wrong, body: modern.event })).status, 400);
});

test('A1: nothing but an invite of a user of ours by a user of theirs is signed', async () => {
  const bad: readonly JsonObject[] = [
    { type: 'm.room.power_levels' },
    { type: 'm.room.create', state_key: '' },
    ...['join', 'leave', 'ban', 'knock', 'Invite'].map((membership) => ({ content: { membership } })),
    { content: {} },
    { content: { membership: ['invite'] } },
    { state_key: `@bob:${other.serverName}` },
    { state_key: '' },
    { state_key: 'alice' },
    { sender: `@mallory:${other.serverName}` },
    { sender: alice.userId },
    { redacts: '$x' },
    { membership: 'join' },
    { prev_state: [['$x', {}]] },
    { origin: here.serverName },
  ];
  for (const fields of bad) await assertRefused(makeInvite(fields));
  const { state_key: _key, ...message } = makeInvite().event;
  await assertRefused({ ...makeInvite(), event: message });
  await assertRefused({ ...makeInvite(), event: {} });
});

test('A1: users who are not here are not invited', async () => {
  await assertRefused(makeInvite({ state_key: `@nobody:${here.serverName}` }), 403, 'M_FORBIDDEN');
});

test('A4: the room and event of the path are those of the body', async () => {
  const sent = makeInvite();
  await assertRefused({ ...sent, roomId: newRoom() });
  await assertRefused({ ...sent, eventId: makeInvite().eventId });
});

test('A6: unsigned, wrongly signed and altered invites are not signed', async () => {
  const sent = makeInvite();
  const { pdu } = { pdu: sent.event };
  const wrongKey = createSigningKey(secureRandom.bytes(32), 'scripted');
  const resigned = (key: typeof wrongKey, name: string): Pdu => {
    const { signatures } = signJson({ ...redactPdu(pdu, versionOf('11')), signatures: {} }, name, key);
    return { ...pdu, signatures };
  };
  const forged: readonly JsonObject[] = [
    { ...pdu, signatures: {} },
    resigned(wrongKey, peer.serverName),
    resigned(other.signingKey, other.serverName),
    { ...pdu, signatures: { [peer.serverName]: { 'ed25519:none': 'AAAA' } } },
    { ...pdu, hashes: { sha256: 'AAAA' } },
    { ...pdu, content: { membership: 'invite', reason: 'altered' } },
    { ...pdu, hashes: {} },
  ];
  for (const event of forged) await assertRefused({ ...sent, event });
});

test('A18: numbers that cannot be hashed by all are refused', async () => {
  const sent = makeInvite();
  for (const depth of [2 ** 53, -1, 1.5, '1']) await assertRefused({ ...sent, event: { ...sent.event, depth } });
});

test('A5: another server cannot pass on an invite', async () => {
  const sent = makeInvite();
  const answer = await put(sent, other);
  assert.equal(answer.status, 400);
  assert.equal((await invitesOf(alice)).includes(sent.roomId), false);
});

test('A24: rooms of versions that are not known are refused with the version', async () => {
  const sent = { ...makeInvite(), version: 'x' };
  await assertRefused(sent, 400, 'M_INCOMPATIBLE_ROOM_VERSION');
  assert.equal(at((await put(sent)).body, 'room_version'), 'x');
});

test('C6: no state, null and nonsense as state do not break the sync of who is invited', async () => {
  const bob = await here.register('bob');
  for (const state of [
    undefined,
    null,
    [],
    [null, 1, 'x', [], {}, { type: 1 }, { type: 'm.room.name', content: null }],
  ]) {
    const sent = makeInvite({ state_key: bob.userId });
    assert.equal((await put({ ...sent, state })).status, 200);
    const synced = await bob.ok('GET', '/sync');
    assert.equal(listAt(synced, 'rooms', 'invite', sent.roomId, 'invite_state', 'events').length, 1);
  }
  for (const state of [{}, 'x', 5, true]) assert.equal((await put({ ...makeInvite(), state })).status, 400);
});

test('C4: state of huge size is refused, and what is shown of it holds no more than clients need', async () => {
  const name = (bytes: number): JsonObject => ({
    type: 'm.room.name',
    state_key: '',
    sender: '@x:y',
    content: { name: 'x'.repeat(bytes) },
    unsigned: { secret: true },
  });
  await assertRefused({ ...makeInvite(), state: [name(200_000)] });
  await assertRefused({
    ...makeInvite(),
    state: Array.from({ length: 33 }, (_, key) => ({ ...name(1), state_key: `${key}` })),
  });
  const huge = await put({ ...makeInvite(), state: [name(2_000_000)] });
  assert.equal(huge.status, 413);
  const bob = await here.register('robert');
  const sent = makeInvite({ state_key: bob.userId });
  assert.equal((await put({ ...sent, state: [name(10), name(11)] })).status, 200);
  const events = listAt(await bob.ok('GET', '/sync'), 'rooms', 'invite', sent.roomId, 'invite_state', 'events');
  assert.equal(events.length, 2);
  assert.deepEqual(Object.keys(Object(events[0])).toSorted(), ['content', 'sender', 'state_key', 'type']);
});

test('A28: an invite to a room of version 12 has to show the create event that names the room', async () => {
  const version = versionOf('12');
  const create = (): { pdu: Pdu; roomId: string } => {
    const content = { room_version: '12', nonce: secureRandom.alphanumeric(8) };
    const { pdu, eventId } = signEvent(peer, version, { type: 'm.room.create', state_key: '', content });
    return { pdu, roomId: `!${eventId.slice(1)}` };
  };
  const room = create();
  const stripped = { type: 'm.room.create', state_key: '', sender: room.pdu.sender, content: room.pdu.content };
  const bad: readonly (JsonValue | undefined)[] = [
    undefined,
    [],
    [stripped],
    [create().pdu],
    [{ ...room.pdu, signatures: {} }],
    [{ ...room.pdu, signatures: { [peer.serverName]: { [peer.signingKey.keyId]: 'AAAA' } } }],
    [room.pdu, { type: 'm.room.name', state_key: '', sender: room.pdu.sender, content: { name: 'x' } }],
  ];
  for (const state of bad) await assertRefused({ ...makeInvite({ room_id: room.roomId }, '12'), state });
  const fields = { room_id: room.roomId, type: 'm.room.name', state_key: '', content: { name: 'Shown' } };
  const named = signEvent(peer, version, fields).pdu;
  const sent = makeInvite({ room_id: room.roomId }, '12');
  assert.equal((await put({ ...sent, state: [room.pdu, named] })).status, 200);
  const shown = listAt(await alice.ok('GET', '/sync'), 'rooms', 'invite', room.roomId, 'invite_state', 'events');
  assert.deepEqual(
    shown.map((event) => [at(event, 'type'), Object.keys(Object(event)).length]),
    [
      ['m.room.create', 5],
      ['m.room.name', 4],
      ['m.room.member', 4],
    ],
  );
});

test('one server does not fill the list of invites', async () => {
  const carol = await here.register('carol');
  let last = 200;
  let taken = 0;
  while (last === 200 && taken < 300) {
    last = (await put(makeInvite({ state_key: carol.userId }))).status;
    if (last === 200) taken += 1;
  }
  assert.deepEqual([taken, last], [200, 403]);
});

/** A transaction of the scripted server with one PDU. */
const send = (pdu: JsonValue, as = peer) =>
  askAs(as, here, {
    method: 'PUT',
    path: `/_matrix/federation/v1/send/${secureRandom.alphanumeric(12)}`,
    body: { origin: as.serverName, origin_server_ts: 1, pdus: [pdu] },
  });

test('A14: an invite is taken back by its inviter only, and by an event that is about this invite', async () => {
  const sent = makeInvite();
  assert.equal((await put({ ...sent, state: [] })).status, 200);
  const end = (fields: JsonObject, as = peer) =>
    signEvent(as, versionOf('11'), {
      room_id: sent.roomId,
      state_key: alice.userId,
      content: { membership: 'leave' },
      auth_events: [sent.eventId],
      prev_events: [sent.eventId],
      ...fields,
    });
  const ending = (fields: JsonObject, as = peer): Pdu => end(fields, as).pdu;
  const ineffective: readonly [Pdu, ScriptedServer][] = [
    [ending({ auth_events: [makeInvite().eventId] }), peer],
    [ending({ sender: `@else:${peer.serverName}` }), peer],
    [ending({ sender: `@mallory:${other.serverName}` }, other), other],
    [ending({ sender: `@mallory:${peer.serverName}` }, other), other],
    [{ ...ending({}), signatures: {} }, peer],
    [ending({ content: { membership: 'join' } }), peer],
    [ending({ room_id: newRoom() }), peer],
  ];
  for (const [pdu, as] of ineffective) assert.equal((await send(pdu, as)).status, 200);
  const since = textAt(await alice.ok('GET', '/sync'), 'next_batch');
  assert.ok((await invitesOf(alice)).includes(sent.roomId));
  // Behind all others in the queue of the room: had one of them ended it, this would not.
  const { pdu, eventId } = end({ origin_server_ts: 1 });
  assert.equal((await send(pdu)).status, 200);
  const next = await alice.ok('GET', `/sync?since=${since}&timeout=10000`);
  const [event] = listAt(next, 'rooms', 'leave', sent.roomId, 'timeline', 'events');
  assert.equal(at(event, 'event_id'), eventId);
  await until(async () => !(await invitesOf(alice)).includes(sent.roomId));
});

test('A3: what comes back of an invite of ours has to be a signature over that very invite', async () => {
  const room = textAt(await alice.ok('POST', '/createRoom', {}), 'room_id');
  const mallory = `@mallory:${peer.serverName}`;
  const keys = peer.handle;
  const sign = (event: JsonObject, key = peer.signingKey): JsonObject => {
    const redacted = redactPdu(event as Pdu, versionOf('12'));
    const { signatures } = signJson({ ...redacted, signatures: {} }, peer.serverName, key);
    return { ...event, signatures };
  };
  const answers: readonly ((event: JsonObject) => unknown)[] = [
    () => 'x',
    () => ({}),
    () => [],
    () => ({ event: null }),
    (event) => ({ event }),
    (event) => ({ event: sign(event, createSigningKey(secureRandom.bytes(32), 'scripted')) }),
    (event) => ({ event: sign({ ...event, state_key: '@else:there' }) }),
    (event) => ({ event: sign({ ...event, content: { membership: 'ban' } }) }),
    (event) => ({ event: { ...event, signatures: { [peer.serverName]: { [peer.signingKey.keyId]: 5 } } } }),
  ];
  try {
    for (const answer of [
      ...answers,
      (event: JsonObject) => ({ event: { ...sign(event), content: { evil: true } } }),
    ]) {
      peer.handle = async (request, response) => {
        if (request.url?.includes('/invite/') !== true) return keys(request, response);
        const body = JSON.parse((await request.toArray()).join(''));
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer(body.event)));
      };
      const path = `/rooms/${encodeURIComponent(room)}`;
      const { status } = await alice.call('POST', `${path}/invite`, { user_id: mallory });
      const member = await alice.call('GET', `${path}/state/m.room.member/${mallory}`);
      if (answers.includes(answer)) assert.deepEqual([status, member.status], [502, 404]);
      // Of the last only the signature is taken, which is right.
      else assert.deepEqual([status, member.body], [200, { membership: 'invite' }]);
    }
  } finally {
    peer.handle = keys;
  }
});
