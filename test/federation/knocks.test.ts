/**
 * Knocks between whole servers of ours, and what hostile ones answer to them.
 */
import assert from 'node:assert/strict';
import type { RequestListener } from 'node:http';
import { after, before, test } from 'node:test';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { versionOf } from '../support/engine.ts';
import type { ScriptedServer, TestClient, TestHomeserver } from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { inRoom, memberIn, sectionsOf, startPair, sync } from '../support/pair.ts';
import { askAs, signEvent } from '../support/signed-requests.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let here: TestHomeserver;
let there: TestHomeserver;
let peer: ScriptedServer;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  ({ here, there, peer, alice, bob } = await startPair(stack));
});

after(() => stack.disposeAsync());

/** A room of Alice's on which anybody may knock. */
async function createRoom(version = '11', joinRule = 'knock'): Promise<string> {
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: joinRule } };
  const body = { room_version: version, name: 'Knock', initial_state: [rules] };
  return textAt(await alice.ok('POST', '/createRoom', body), 'room_id');
}

const knock = (client: TestClient, room: string, { serverName }: Pick<TestHomeserver, 'serverName'>, body = {}) =>
  client.call('POST', `/knock/${encodeURIComponent(room)}?via=${encodeURIComponent(serverName)}`, body);

for (const version of [...ROOM_VERSIONS.values()].filter((one) => one.knock)) {
  test(`a user knocks on a room of version ${version.id}, is invited and joins`, async () => {
    const room = await createRoom(version.id);
    const since = textAt(await sync(bob), 'next_batch');
    assert.equal((await knock(bob, room, here, { reason: 'please' })).status, 200);
    assert.equal(await memberIn(alice, room, bob.userId), 'knock');
    for (const body of [await sync(bob, since), await sync(bob)]) {
      assert.deepEqual(sectionsOf(body, room), ['knock']);
      const events = listAt(body, 'rooms', 'knock', room, 'knock_state', 'events');
      assert.ok(events.some((event) => at(event, 'type') === 'm.room.create'));
      assert.deepEqual(at(events.at(-1), 'content'), { membership: 'knock', reason: 'please' });
    }
    await alice.ok('POST', inRoom(room, '/invite'), { user_id: bob.userId });
    assert.deepEqual(sectionsOf(await sync(bob), room), ['invite']);
    await bob.ok('POST', inRoom(room, '/join'), {});
    // Until its members are here, syncs without lazy loading leave the room out.
    await bob.ok('GET', inRoom(room, '/members'));
    assert.deepEqual(sectionsOf(await sync(bob), room), ['join']);
    await until(async () => (await memberIn(alice, room, bob.userId)) === 'join');
  });
}

test('a knock is taken back, and made again', async () => {
  const room = await createRoom();
  await knock(bob, room, here);
  const since = textAt(await sync(bob), 'next_batch');
  await bob.ok('POST', inRoom(room, '/leave'), {});
  assert.equal(await memberIn(alice, room, bob.userId), 'leave');
  assert.deepEqual(sectionsOf(await sync(bob, since), room), ['leave']);
  assert.equal((await knock(bob, room, here)).status, 200);
  assert.equal((await knock(bob, room, here, { reason: 'once more' })).status, 200);
  assert.deepEqual(sectionsOf(await sync(bob), room), ['knock']);
});

test('who knocks is turned away, also by a member that they never heard of', async () => {
  const room = await createRoom();
  const carol = await here.register('carol');
  await alice.ok('POST', inRoom(room, '/invite'), { user_id: carol.userId });
  await carol.ok('POST', inRoom(room, '/join'), {});
  await alice.ok('PUT', inRoom(room, '/state/m.room.power_levels'), {
    users: { [alice.userId]: 100, [carol.userId]: 90 },
  });
  for (const how of ['kick', 'ban']) {
    assert.equal((await knock(bob, room, here)).status, 200);
    const since = textAt(await sync(bob), 'next_batch');
    await carol.ok('POST', inRoom(room, `/${how}`), { user_id: bob.userId });
    assert.deepEqual(sectionsOf(await sync(bob, since), room), ['leave']);
  }
  assert.equal((await knock(bob, room, here)).status, 403);
});

test('a knock outlives a restart, and is taken back although the server in the room is gone', async () => {
  const room = await createRoom();
  await knock(bob, room, here);
  await there.stop();
  await there.start();
  const since = textAt(await sync(bob), 'next_batch');
  assert.deepEqual(sectionsOf(await sync(bob), room), ['knock']);
  await here.stop();
  try {
    await bob.ok('POST', inRoom(room, '/leave'), {});
    assert.deepEqual(sectionsOf(await sync(bob, since), room), ['leave']);
  } finally {
    await here.start();
  }
});

test('a knock that no server takes is refused with what they said', async () => {
  assert.equal((await knock(bob, await createRoom('11', 'invite'), here)).status, 403);
  assert.equal((await knock(bob, await createRoom('6', 'invite'), here)).status, 400);
  assert.equal((await knock(bob, `!none:${here.serverName}`, here)).status, 404);
  assert.equal((await bob.call('POST', `/knock/${encodeURIComponent('!none')}`, {})).status, 404);
  assert.equal((await knock(bob, '!none', { serverName: peer.serverName })).status, 502);
});

const handshake = (kind: string, room: string, id: string): string =>
  `/_matrix/federation/v1/${kind}/${encodeURIComponent(room)}/${encodeURIComponent(id)}`;

const knocking = (kind: string, room: string, userId: string): string =>
  `${handshake(kind, room, userId)}${kind === 'make_knock' ? '?ver=11' : ''}`;

test('A14: a server makes nobody knock or leave but its own users', async () => {
  const room = await createRoom();
  await knock(bob, room, here);
  for (const kind of ['make_knock', 'make_leave']) {
    assert.equal((await askAs(peer, here, { path: knocking(kind, room, bob.userId) })).status, 403);
    assert.equal((await askAs(peer, here, { path: knocking(kind, room, alice.userId) })).status, 403);
  }
  assert.equal(await memberIn(alice, room, bob.userId), 'knock');
});

test('B1: a room that this server is not in is not there, and who has nothing to leave cannot leave', async () => {
  const mallory = `@mallory:${peer.serverName}`;
  const room = await createRoom();
  for (const kind of ['make_knock', 'make_leave']) {
    assert.equal((await askAs(peer, here, { path: knocking(kind, '!none:x', mallory) })).status, 404);
  }
  assert.equal((await askAs(peer, here, { path: knocking('make_leave', room, mallory) })).status, 403);
  const incompatible = await askAs(peer, here, { path: `${handshake('make_knock', room, mallory)}?ver=7&ver=10` });
  assert.equal(incompatible.status, 400);
  assert.equal(at(incompatible.body, 'room_version'), '11');
});

test('limit 18: a server that the room denies neither knocks nor leaves', async () => {
  const room = await createRoom();
  const mallory = `@mallory:${peer.serverName}`;
  await alice.ok('PUT', inRoom(room, '/state/m.room.server_acl'), { allow: ['*'], deny: ['127.*'] });
  for (const kind of ['make_knock', 'make_leave']) {
    assert.equal((await askAs(peer, here, { path: knocking(kind, room, mallory) })).status, 403);
  }
  for (const kind of ['send_knock', 'send_leave']) {
    const path = handshake(kind, room, '$x');
    assert.equal((await askAs(peer, here, { method: 'PUT', path, body: {} })).status, 403);
  }
});

for (const membership of ['knock', 'leave']) {
  test(`A4, A6, A14: what is sent as a ${membership} has to be one, of a user of the server, in the room, and signed`, async () => {
    const room = await createRoom();
    const mallory = `@mallory:${peer.serverName}`;
    if (membership === 'leave') await sendKnock(room, mallory);
    const { body: made } = await askAs(peer, here, { path: knocking(`make_${membership}`, room, mallory) });
    const template = Object(at(made, 'event')) as JsonObject;
    const send = (fields: JsonObject, { alter = (pdu: JsonObject): JsonObject => pdu, path = room, id = '' } = {}) => {
      const { pdu, eventId } = signEvent(peer, versionOf('11'), { ...template, ...fields });
      return askAs(peer, here, {
        method: 'PUT',
        path: handshake(`send_${membership}`, path, id || eventId),
        body: alter(pdu),
      });
    };
    const other = membership === 'knock' ? 'leave' : 'knock';
    const bad: readonly (readonly [JsonObject, Parameters<typeof send>[1]])[] = [
      [{ type: 'm.room.name' }, {}],
      [{ content: { membership: 'join' } }, {}],
      [{ content: { membership: other } }, {}],
      [{ state_key: alice.userId }, {}],
      [{ sender: bob.userId, state_key: bob.userId }, {}],
      [{ sender: alice.userId, state_key: alice.userId }, {}],
      [{ room_id: await createRoom() }, {}],
      [{}, { path: await createRoom() }],
      [{}, { id: '$somethingelse' }],
      [{}, { alter: (pdu) => ({ ...pdu, signatures: {} }) }],
      [{}, { alter: (pdu) => ({ ...pdu, depth: -1 }) }],
      [{}, { alter: () => ({}) }],
      [{ auth_events: [] }, {}],
    ];
    for (const [fields, options] of bad) {
      const { status, body } = await send(fields, options);
      assert.ok([400, 403, 404].includes(status), `${JSON.stringify(fields)} ${status} ${JSON.stringify(body)}`);
    }
    const before = membership === 'knock' ? undefined : 'knock';
    assert.equal(await memberIn(alice, room, mallory), before);
    assert.equal((await send({})).status, 200);
    assert.equal(await memberIn(alice, room, mallory), membership);
    // The answer may have been lost.
    assert.equal((await send({})).status, 200);
  });
}

async function sendKnock(room: string, userId: string): Promise<void> {
  const { body } = await askAs(peer, here, { path: knocking('make_knock', room, userId) });
  const { pdu, eventId } = signEvent(peer, versionOf('11'), Object(at(body, 'event')));
  const path = handshake('send_knock', room, eventId);
  const { status, body: answered } = await askAs(peer, here, { method: 'PUT', path, body: pdu });
  assert.equal(status, 200);
  const types = listAt(answered, 'knock_room_state').map((event) => at(event, 'type'));
  assert.ok(types.includes('m.room.create') && types.includes('m.room.name'));
}

/** Templates that a hostile server gives in the place of what it was asked for. */
const EVIL_TEMPLATES: readonly JsonObject[] = [
  { type: 'm.room.power_levels' },
  { sender: '@else:there' },
  { state_key: '@else:there' },
  { room_id: '!else:there' },
  { content: { membership: 'join' } },
  { content: {} },
  { content: 'x' },
  { prev_events: [] },
  { prev_events: 'x' },
  { prev_events: [1] },
  { auth_events: { a: 1 } },
  { depth: -1 },
  { depth: '1' },
  { depth: 2 ** 53 },
  { prev_events: Array.from({ length: 21 }, (_, index) => `$${String(index).padStart(43, 'a')}`) },
];

function scriptTemplates(membership: string, template: JsonObject, version: unknown = '11'): RequestListener {
  const keys = peer.handle;
  return (request, response) => {
    const url = decodeURIComponent(request.url ?? '');
    const [, kind, room, userId] = /\/v[12]\/((?:make|send)_\w+)\/([^/]+)\/([^?]+)/.exec(url) ?? [];
    if (kind === undefined) return keys(request, response);
    const event = {
      type: 'm.room.member',
      room_id: room,
      sender: userId,
      state_key: userId,
      content: { membership },
      prev_events: [`$${'p'.repeat(43)}`],
      auth_events: [`$${'a'.repeat(43)}`],
      depth: 5,
      ...template,
    };
    const answer = kind.startsWith('make') ? { room_version: version, event } : { knock_room_state: 'nonsense' };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  };
}

test('A2: of a template that is not of the knock asked for nothing is signed', async () => {
  const keys = peer.handle;
  try {
    let room = 0;
    for (const template of EVIL_TEMPLATES) {
      peer.handle = scriptTemplates('knock', template);
      const { status } = await knock(bob, `!evil${room++}:${peer.serverName}`, peer);
      assert.equal(status, 502, JSON.stringify(template));
    }
    for (const version of ['x', 6, '6', null]) {
      peer.handle = scriptTemplates('knock', {}, version);
      assert.equal((await knock(bob, `!evil${room++}:${peer.serverName}`, peer)).status, 502);
    }
    assert.deepEqual(
      peer.requests.filter((request) => request.includes('/send_knock/')),
      [],
    );
    // What it adds is left out, and what it shows of the room is not believed.
    peer.handle = scriptTemplates('knock', { content: { membership: 'knock', evil: true }, evil: true });
    const fine = `!fine:${peer.serverName}`;
    assert.equal((await knock(bob, fine, peer)).status, 200);
    const events = listAt(await sync(bob), 'rooms', 'knock', fine, 'knock_state', 'events');
    assert.deepEqual(
      events.map((event) => at(event, 'content')),
      [{ membership: 'knock' }],
    );
    // The same of leaves: they are made here only, and nothing is sent.
    for (const template of EVIL_TEMPLATES) {
      peer.handle = scriptTemplates('knock', {});
      assert.equal((await knock(bob, fine, peer)).status, 200);
      peer.handle = scriptTemplates('leave', template);
      await bob.ok('POST', inRoom(fine, '/leave'), {});
      assert.deepEqual(sectionsOf(await sync(bob), fine), []);
    }
    assert.deepEqual(
      peer.requests.filter((request) => request.includes('/send_leave/')),
      [],
    );
  } finally {
    peer.handle = keys;
  }
});
