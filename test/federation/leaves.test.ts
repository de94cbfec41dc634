/**
 * Leaves by way of a server in the room, as the others in the room hear of them.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { versionOf } from '../support/engine.ts';
import { type ScriptedServer, startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, textAt } from '../support/json.ts';
import { inRoom, memberIn, startPair } from '../support/pair.ts';
import { askAs, signEvent } from '../support/signed-requests.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let here: TestHomeserver;
let elsewhere: TestHomeserver;
let peer: ScriptedServer;
let alice: TestClient;
let bob: TestClient;
let carol: TestClient;

before(async () => {
  const pair = await startPair(stack);
  ({ here, peer, alice, bob } = pair);
  elsewhere = stack.use(await startHomeserver({ authority: pair.authority }));
  carol = await elsewhere.register('carol');
});

after(() => stack.disposeAsync());

test('a rejected invite and a knock reach the other servers in the room', async () => {
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
  const body = { invite: [bob.userId, carol.userId], initial_state: [rules] };
  const room = textAt(await alice.ok('POST', '/createRoom', body), 'room_id');
  await carol.ok('POST', inRoom(room, '/join'), {});
  assert.equal(await memberIn(carol, room, bob.userId), 'invite');
  await bob.ok('POST', inRoom(room, '/leave'), {});
  await until(async () => (await memberIn(carol, room, bob.userId)) === 'leave');
  await bob.ok('POST', `/knock/${encodeURIComponent(room)}?via=${encodeURIComponent(here.serverName)}`, {});
  await until(async () => (await memberIn(carol, room, bob.userId)) === 'knock');
  // Any of them lets the user in.
  await alice.ok('PUT', inRoom(room, '/state/m.room.power_levels'), { users_default: 100 });
  await until(async () => (await carol.call('POST', inRoom(room, '/invite'), { user_id: bob.userId })).status === 200);
  await bob.ok('POST', inRoom(room, '/join'), {});
  for (const client of [alice, carol]) await until(async () => (await memberIn(client, room, bob.userId)) === 'join');
});

test('both versions of the API take a leave', async () => {
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
  const body = { room_version: '11', initial_state: [rules] };
  const room = textAt(await alice.ok('POST', '/createRoom', body), 'room_id');
  const mallory = `@mallory:${peer.serverName}`;
  const path = (version: string, kind: string, id: string): string =>
    `/_matrix/federation/${version}/${kind}/${encodeURIComponent(room)}/${encodeURIComponent(id)}`;
  const step = async (version: string, membership: string): Promise<unknown> => {
    const made = await askAs(peer, here, { path: `${path('v1', `make_${membership}`, mallory)}?ver=11` });
    const { pdu, eventId } = signEvent(peer, versionOf('11'), Object(at(made.body, 'event')));
    const sent = { method: 'PUT', path: path(version, `send_${membership}`, eventId), body: pdu };
    return (await askAs(peer, here, sent)).body;
  };
  for (const [version, answer] of [
    ['v1', [200, {}]],
    ['v2', {}],
  ] as const) {
    await step('v1', 'knock');
    assert.equal(await memberIn(alice, room, mallory), 'knock');
    assert.deepEqual(await step(version, 'leave'), answer);
    assert.equal(await memberIn(alice, room, mallory), 'leave');
  }
});
