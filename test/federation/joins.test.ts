/**
 * Joins between whole servers of ours: who is let in, by way of whom, and what both sides then know.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { createTestAuthority, type TestAuthority } from '../support/certificates.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let authority: TestAuthority;
let here: TestHomeserver;
let there: TestHomeserver;
let alice: TestClient;
let bob: TestClient;

before(async () => {
  authority = stack.use(await createTestAuthority());
  [here, there] = await Promise.all([startHomeserver({ authority }), startHomeserver({ authority })]);
  stack.use(here);
  stack.use(there);
  alice = await here.register('alice');
  bob = await there.register('bob');
});

after(() => stack.disposeAsync());

const createRoom = async (client: TestClient, body: object = { preset: 'public_chat' }): Promise<string> =>
  textAt(await client.ok('POST', '/createRoom', body), 'room_id');

const joinPath = (room: string, ...via: readonly TestHomeserver[]): string =>
  `/join/${encodeURIComponent(room)}?${via.map(({ serverName }) => `via=${encodeURIComponent(serverName)}`).join('&')}`;

const membershipOf = async (client: TestClient, room: string, userId: string): Promise<unknown> => {
  const { body } = await client.call('GET', `/rooms/${encodeURIComponent(room)}/state/m.room.member/${userId}`);
  return at(body, 'membership');
};

const send = (client: TestClient, room: string, body: string): Promise<unknown> =>
  client.ok('PUT', `/rooms/${encodeURIComponent(room)}/send/m.room.message/${body}`, { msgtype: 'm.text', body });

const bodiesIn = async (client: TestClient, room: string): Promise<readonly unknown[]> => {
  const { body } = await client.call('GET', `/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=50`);
  return listAt(body, 'chunk').map((event) => at(event, 'content', 'body'));
};

for (const version of ROOM_VERSIONS.keys()) {
  test(`a user joins a public room of version ${version} on another server, and both talk`, async () => {
    const room = await createRoom(bob, { preset: 'public_chat', room_version: version, name: `Version ${version}` });
    await send(bob, room, 'before');
    assert.deepEqual(await alice.ok('POST', joinPath(room, there), {}), { room_id: room });
    assert.equal(await membershipOf(bob, room, alice.userId), 'join');
    assert.equal(await membershipOf(alice, room, bob.userId), 'join');
    await send(alice, room, 'from here');
    await until(async () => (await bodiesIn(bob, room)).includes('from here'));
    await send(bob, room, 'from there');
    await until(async () => (await bodiesIn(alice, room)).includes('from there'));
  });
}
