/**
 * Rooms that are deleted and accounts that are deactivated, as other servers see it: users leave, invites are rejected and
 * knocks taken back, also where the other server is down just then.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sql } from '../../src/storage/sql.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from '../support/federation.ts';
import { at, textAt } from '../support/json.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let here: TestHomeserver;
let there: TestHomeserver;
let admin: TestClient;
let bob: TestClient;
let users = 0;

before(async () => {
  const authority = stack.use(await createTestAuthority());
  [here, there] = await Promise.all([startHomeserver({ authority }), startHomeserver({ authority })]);
  stack.use(here);
  stack.use(there);
  admin = await here.register('admin');
  await here.test.database.query(sql`update accounts set admin = true where localpart = 'admin'`);
  await here.stop();
  await here.start();
  bob = await there.register('bob');
});

after(() => stack.disposeAsync());

const register = (): Promise<TestClient> => here.register(`user${users++}`);

const inRoom = (room: string, path: string): string => `/rooms/${encodeURIComponent(room)}${path}`;

const createRoom = async (joinRule: string): Promise<string> => {
  const rules = { type: 'm.room.join_rules', state_key: '', content: { join_rule: joinRule } };
  return textAt(await bob.ok('POST', '/createRoom', { initial_state: [rules] }), 'room_id');
};

const via = (): string => `?via=${encodeURIComponent(there.serverName)}`;

const join = (client: TestClient, room: string) => client.ok('POST', `/join/${encodeURIComponent(room)}${via()}`, {});

/** As the other server's room says. */
const becomes = (client: TestClient, room: string, membership: string): Promise<void> =>
  until(async () => {
    const { body } = await bob.call('GET', inRoom(room, `/state/m.room.member/${client.userId}`));
    return at(body, 'membership') === membership;
  });

const invited = (client: TestClient, room: string): Promise<void> =>
  until(async () => at(await client.ok('GET', '/sync?timeout=0'), 'rooms', 'invite', room) !== undefined);

async function adminCall(method: string, path: string): Promise<void> {
  const answer = await fetch(`${here.url}/_hammerhead/v0/admin${path}`, {
    method,
    headers: { authorization: `Bearer ${admin.token}`, 'content-type': 'application/json' },
    body: '{}',
  });
  assert.equal(answer.status, 200, await answer.text());
}

const deleteRoom = (room: string): Promise<void> => adminCall('DELETE', `/rooms/${encodeURIComponent(room)}`);

const deactivate = ({ userId }: TestClient): Promise<void> =>
  adminCall('POST', `/users/${encodeURIComponent(userId)}/deactivate`);

const isGone = async (room: string): Promise<boolean> =>
  (await here.test.database.query(sql<{ one: number }>`select 1 as one from rooms where room_id = ${room}`)).length ===
  0;

describe('a room that is deleted', () => {
  test('is left by all who are in it, and the other server hears of each', async () => {
    const room = await createRoom('public');
    const [one, two] = await Promise.all([register(), register()]);
    await join(one, room);
    await join(two, room);
    await becomes(two, room, 'join');
    await deleteRoom(room);
    await becomes(one, room, 'leave');
    await becomes(two, room, 'leave');
    assert.ok(await isGone(room));
  });

  test('and the other server hears of it when it is back, after a restart of ours too', async () => {
    const room = await createRoom('public');
    const [one, two] = await Promise.all([register(), register()]);
    await join(one, room);
    await join(two, room);
    await becomes(two, room, 'join');
    await there.stop();
    await deleteRoom(room);
    assert.ok(await isGone(room));
    await here.stop();
    await here.start();
    await there.start();
    await adminCall('POST', `/federation/destinations/${there.serverName}/retry`);
    await becomes(one, room, 'leave');
    await becomes(two, room, 'leave');
    // What was taken is forgotten by the next start.
    await here.stop();
    await here.start();
    const kept = await here.test.database.query(sql<{ one: number }>`
      select 1 as one from parting_events union all select 1 from parting_servers`);
    assert.deepEqual(kept, []);
  });

  test('that we are only invited to: the invite is rejected, and a knock taken back', async () => {
    const [invitee, knocker] = await Promise.all([register(), register()]);
    const room = await createRoom('knock');
    await bob.ok('POST', inRoom(room, '/invite'), { user_id: invitee.userId });
    await invited(invitee, room);
    await knocker.ok('POST', `/knock/${encodeURIComponent(room)}${via()}`, {});
    await becomes(knocker, room, 'knock');
    await deleteRoom(room);
    await becomes(invitee, room, 'leave');
    await becomes(knocker, room, 'leave');
  });

  test('rooms of other servers are among those that a user is shown to have', async () => {
    const user = await register();
    const [invitedTo, knockedOn] = await Promise.all([createRoom('invite'), createRoom('knock')]);
    await bob.ok('POST', inRoom(invitedTo, '/invite'), { user_id: user.userId });
    await invited(user, invitedTo);
    await user.ok('POST', `/knock/${encodeURIComponent(knockedOn)}${via()}`, {});
    const { body } = await admin.admin('GET', `/_hammerhead/v0/admin/users/${encodeURIComponent(user.userId)}`);
    assert.deepEqual(at(body, 'rooms'), { join: [], invite: [invitedTo], knock: [knockedOn] });
    await user.ok('POST', inRoom(invitedTo, '/leave'), {});
    const left = await admin.admin('GET', `/_hammerhead/v0/admin/users/${encodeURIComponent(user.userId)}`);
    assert.deepEqual(at(left.body, 'rooms', 'invite'), []);
  });

  test('the same while the other server is down: it hears of it later, and can invite the user again', async () => {
    const [invitee, again] = await Promise.all([register(), register()]);
    const room = await createRoom('invite');
    for (const client of [invitee, again]) {
      await bob.ok('POST', inRoom(room, '/invite'), { user_id: client.userId });
      await invited(client, room);
    }
    await there.stop();
    await deleteRoom(room);
    assert.equal(at(await invitee.ok('GET', '/sync?timeout=0'), 'rooms', 'invite'), undefined);
    await here.stop();
    await there.start();
    await here.start();
    await becomes(invitee, room, 'leave');
    await becomes(again, room, 'leave');
    await bob.ok('POST', inRoom(room, '/invite'), { user_id: again.userId });
    await invited(again, room);
    await becomes(again, room, 'invite');
  });
});

describe('a user who is deactivated', () => {
  test('leaves rooms, rejects invites and takes back knocks, and the other server hears of each', async () => {
    const user = await register();
    const [joined, invitedTo, knockedOn] = await Promise.all([
      createRoom('public'),
      createRoom('invite'),
      createRoom('knock'),
    ]);
    await join(user, joined);
    await bob.ok('POST', inRoom(invitedTo, '/invite'), { user_id: user.userId });
    await invited(user, invitedTo);
    await user.ok('POST', `/knock/${encodeURIComponent(knockedOn)}${via()}`, {});
    await deactivate(user);
    for (const room of [joined, invitedTo, knockedOn]) await becomes(user, room, 'leave');
  });

  test('while the other server is down: it hears of all that later', async () => {
    const user = await register();
    const [joined, invitedTo] = await Promise.all([createRoom('public'), createRoom('invite')]);
    await join(user, joined);
    await bob.ok('POST', inRoom(invitedTo, '/invite'), { user_id: user.userId });
    await invited(user, invitedTo);
    await there.stop();
    await deactivate(user);
    await here.stop();
    await there.start();
    await here.start();
    await adminCall('POST', `/federation/destinations/${there.serverName}/retry`);
    for (const room of [joined, invitedTo]) await becomes(user, room, 'leave');
  });
});
