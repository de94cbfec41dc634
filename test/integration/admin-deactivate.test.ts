/**
 * Deactivating accounts: each sentence of the reference, the order of the steps, and what a crash leaves.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RoomId } from '../../src/protocol/ids.ts';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, PASSWORD, PSK, startAdminServer } from '../support/admin-server.ts';
import { at, listAt } from '../support/json.ts';
import type { TestRoom } from '../support/rooms-server.ts';

interface Target {
  readonly name: string;
  readonly userId: string;
  readonly token: string;
  readonly owner: { readonly userId: string; readonly token: string };
  /** The target is joined, invited and knocking. */
  readonly joined: TestRoom;
  readonly invited: TestRoom;
  readonly knocking: TestRoom;
}

let count = 0;

async function prepare(server: AdminServer, messages = 3): Promise<Target> {
  count += 1;
  const name = `target${count}`;
  const owner = await server.register(`owner${count}`);
  const { userId, token } = await server.register(name);
  const host = server.user(owner.token);
  const guest = server.user(token);
  const joined = await host.createRoom({ invite: [userId] });
  const inside = guest.room(joined.roomId);
  await inside.join();
  for (let message = 0; message < messages; message++) await inside.send(`message ${message}`);
  const invited = await host.createRoom({ invite: [userId] });
  const knocking = await host.createRoom({
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
  });
  await guest.ok('POST', `/knock/${encodeURIComponent(knocking.roomId)}`, {});
  await guest.ok('PUT', `/profile/${userId}/displayname`, { displayname: 'A Name' });
  await guest.ok('PUT', `/user/${userId}/account_data/test`, { secret: 'data' });
  await guest.ok('PUT', `/user/${userId}/rooms/${encodeURIComponent(joined.roomId)}/account_data/test`, {});
  return { name, userId, token, owner, joined, invited, knocking };
}

const membershipIn = async (room: TestRoom, userId: string): Promise<unknown> =>
  at(await room.state('m.room.member', userId), 'membership');

const countOf = async (server: AdminServer, table: string, column: string, value: string): Promise<number> => {
  const [row] = await server.db.database.query<{ n: number }>({
    name: `of_${table}`,
    text: `select count(*) as n from ${table} where ${column} = $1`,
    values: [value],
  });
  return row?.n ?? 0;
};

const bodiesOf = async (room: TestRoom): Promise<readonly unknown[]> =>
  listAt(await room.ok('GET', '/messages?dir=b&limit=500'), 'chunk')
    .filter((event) => at(event, 'type') === 'm.room.message')
    .map((event) => at(event, 'content', 'body'));

describe('admin API: deactivate', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const flagsOf = async (name: string) => {
    const { body } = await server.api('GET', `/users/${name}`);
    return [at(body, 'deactivated'), at(body, 'erased'), at(body, 'admin')];
  };

  test('E12: nothing of the account is left to be used: sessions, profile, account data, rooms, invites, knocks', async () => {
    const target = await prepare(server);
    const { userId, name } = target;
    await server.api('PATCH', `/users/${name}`, { admin: true });
    const answer = await server.api('POST', `/users/${name}/deactivate`, { erase: false, redact: false });
    assert.deepEqual([answer.status, answer.body], [200, {}]);
    assert.deepEqual(await flagsOf(name), [true, false, false]);
    assert.equal(
      (await server.request('GET', '/_matrix/client/v3/account/whoami', { token: target.token })).status,
      401,
    );
    const { body } = await server.api('GET', `/users/${name}`);
    assert.deepEqual(
      [at(body, 'profile'), at(body, 'devices'), at(body, 'rooms')],
      [{}, [], { join: [], invite: [], knock: [] }],
    );
    assert.equal(await countOf(server, 'account_data', 'user_id', userId), 0);
    for (const room of [target.joined, target.invited, target.knocking]) {
      assert.equal(await membershipIn(room, userId), 'leave');
    }
    const login = { type: 'm.login.password', identifier: { type: 'm.id.user', user: name }, password: PASSWORD };
    assert.equal((await server.request('POST', '/_matrix/client/v3/login', { body: login })).status, 403);
    assert.equal(
      (await bodiesOf(target.joined)).filter((text) => text !== undefined).length,
      3,
      'nothing was redacted',
    );
  });

  test('an account that is deactivated already: 304 without a body, and no change', async () => {
    await server.register('twice');
    assert.equal((await server.api('POST', '/users/twice/deactivate', {})).status, 200);
    const again = await server.api('POST', '/users/twice/deactivate', { erase: true });
    assert.deepEqual([again.status, again.body, again.headers.get('content-length')], [304, undefined, null]);
    assert.deepEqual(await flagsOf('twice'), [true, false, false]);
  });

  test('erase marks the account as erased', async () => {
    await server.register('forgotten');
    assert.equal((await server.api('POST', '/users/forgotten/deactivate', { erase: true })).status, 200);
    assert.deepEqual(await flagsOf('forgotten'), [true, true, false]);
  });

  test('redact redacts every event that the target ever sent, in rooms that it left too', async () => {
    const target = await prepare(server, 5);
    const left = await server.user(target.owner.token).createRoom({ invite: [target.userId] });
    const inside = server.user(target.token).room(left.roomId);
    await inside.join();
    await inside.send('said before leaving');
    await inside.leave();
    const answer = await server.api('POST', `/users/${target.name}/deactivate`, { redact: true });
    assert.equal(answer.status, 200);
    for (const room of [target.joined, left]) {
      assert.ok((await bodiesOf(room)).every((text) => text === undefined));
    }
    const open = await server.db.database.query(sql<{ type: string }>`
      select type from events where sender = ${target.userId} and redacted_by is null and type <> 'm.room.redaction'`);
    // What came after the redactions: leaving three rooms.
    assert.deepEqual(
      open.map(({ type }) => type),
      Array.from({ length: 3 }, () => 'm.room.member'),
    );
    const job = at((await server.api('GET', '/jobs?state=done&limit=1')).body, 'chunk', 0);
    assert.deepEqual([at(job, 'kind'), at(job, 'progress', 'rooms_left')], ['deactivate', 3]);
    assert.equal(at(job, 'progress', 'not_redacted'), 0);
    // The owner's own words stay.
    await target.joined.send('mine');
    assert.ok((await bodiesOf(target.joined)).includes('mine'));
  });

  test('create events, ACLs and encryption keep what they mean', async () => {
    const { token, userId } = await server.register('creator');
    const room = await server.user(token).createRoom({
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    });
    await room.setState('m.room.server_acl', { allow: ['*'] });
    const witness = await server.register('witness');
    const seen = server.user(witness.token).room(room.roomId);
    await seen.join();
    assert.equal(
      (await server.api('POST', `/users/${encodeURIComponent(userId)}/deactivate`, { redact: true })).status,
      200,
    );
    assert.deepEqual(await seen.state('m.room.encryption'), { algorithm: 'm.megolm.v1.aes-sha2' });
    assert.deepEqual(await seen.state('m.room.server_acl'), { allow: ['*'] });
    assert.equal(at(await seen.state('m.room.create'), 'room_version'), '12');
    await seen.send('the room goes on');
  });

  test('by localpart and by user id, with the pre-shared secret too', async () => {
    const { userId } = await server.register('bypsk');
    const path = `/_hammerhead/v0/admin/users/${encodeURIComponent(userId)}/deactivate`;
    assert.equal((await server.request('POST', path, { token: PSK, body: {} })).status, 200);
  });

  test('who does not exist, or is of another server, is M_NOT_FOUND', async () => {
    for (const name of ['nobody', '@nobody:test.example', '@root:other.example']) {
      const { status, body } = await server.api('POST', `/users/${encodeURIComponent(name)}/deactivate`, {});
      assert.deepEqual([status, at(body, 'errcode')], [404, 'M_NOT_FOUND'], name);
    }
  });

  test('what is no JSON is M_NOT_JSON; no body at all means the defaults', async () => {
    const { token } = await server.register('nojson');
    const path = '/_hammerhead/v0/admin/users/nojson/deactivate';
    const bad = await server.request('POST', path, { token: server.admin, raw: 'erase=true' });
    assert.deepEqual([bad.status, at(bad.body, 'errcode')], [400, 'M_NOT_JSON']);
    assert.equal((await server.request('GET', '/_matrix/client/v3/account/whoami', { token })).status, 200);
    assert.equal((await server.request('POST', path, { token: server.admin })).status, 200);
  });

  test('an administrator can deactivate the own account', async () => {
    const { token } = await server.register('self');
    await server.api('PATCH', '/users/self', { admin: true });
    const path = '/_hammerhead/v0/admin/users/self/deactivate';
    assert.equal((await server.request('POST', path, { token, body: {} })).status, 200);
    assert.equal((await server.request('POST', path, { token, body: {} })).status, 403);
  });
});

describe('admin API: the course of a deactivation', () => {
  test('the steps come in the order of the reference, and the account is shut before the first', async () => {
    const seen: unknown[] = [];
    let server: AdminServer | undefined;
    await using running = await startAdminServer({
      wrapKind: (kind, name) => ({
        ...kind,
        async step(job) {
          if (name === 'deactivate' && server !== undefined) {
            const { body } = await server.api('GET', `/users/${job.subject}`);
            seen.push([
              job.cursor?.['phase'] ?? 'first',
              at(body, 'deactivated'),
              at(body, 'admin'),
              at(body, 'erased'),
              Object.keys(Object(at(body, 'profile'))).length,
              await countOf(server, 'account_data', 'user_id', job.subject),
              listAt(body, 'devices').length,
              listAt(body, 'rooms', 'join').length,
            ]);
          }
          return kind.step(job);
        },
      }),
    });
    server = running;
    const { name, token } = await prepare(running, 1);
    await running.api('PATCH', `/users/${name}`, { admin: true });
    const { userId } = { userId: `@${name}:test.example` };
    await running.user(token).ok('PUT', `/user/${userId}/account_data/more`, {});
    await running.api('POST', `/users/${name}/deactivate`, { erase: true, redact: true });
    const steps = seen.filter((step, index) => at(step, 0) !== at(seen[index - 1], 0));
    assert.deepEqual(steps, [
      ['first', true, false, false, 1, 3, 1, 1],
      ['redact', true, false, false, 1, 3, 1, 1],
      ['erase', true, false, false, 1, 3, 1, 1],
      ['profile', true, false, true, 1, 3, 1, 1],
      ['account_data', true, false, true, 0, 3, 1, 1],
      ['devices', true, false, true, 0, 0, 1, 1],
      ['rooms', true, false, true, 0, 0, 0, 1],
    ]);
  });

  test('a room that cannot be left does not keep the others', async () => {
    let stubborn: RoomId | undefined;
    await using server = await startAdminServer({
      onLeave: async (_userId, roomId) => {
        if (roomId === stubborn) throw new Error('this room does not let go');
      },
    });
    const { name, userId, joined, invited, knocking } = await prepare(server);
    stubborn = joined.roomId as RoomId;
    assert.equal((await server.api('POST', `/users/${name}/deactivate`, {})).status, 200);
    assert.equal(await membershipIn(joined, userId), 'join');
    assert.equal(await membershipIn(invited, userId), 'leave');
    assert.equal(await membershipIn(knocking, userId), 'leave');
  });

  test('what cannot be finished is 500 M_UNKNOWN', async () => {
    await using server = await startAdminServer({
      wrapKind: (kind, name) =>
        name !== 'deactivate' ? kind : { maxAttempts: 1, step: () => Promise.reject(new Error('broken')) },
    });
    await server.register('unlucky');
    const { status, body } = await server.api('POST', '/users/unlucky/deactivate', {});
    assert.deepEqual([status, at(body, 'errcode')], [500, 'M_UNKNOWN']);
  });

  test('a process that ends in the middle of the redactions: the next one goes on, also without the request', async () => {
    const reached = Promise.withResolvers<void>();
    let steps = 0;
    const server = await startAdminServer({
      wrapKind: (kind, name) => ({
        ...kind,
        async step(job) {
          if (name !== 'deactivate') return kind.step(job);
          steps += 1;
          if (steps < 3) return kind.step(job);
          // Its work is done, but nobody hears of it.
          await kind.step(job);
          reached.resolve();
          return new Promise(() => undefined);
        },
      }),
    });
    const { name, userId, joined, owner } = await prepare(server, 250);
    const cut = server.api('POST', `/users/${name}/deactivate`, { redact: true, erase: true }).catch(() => undefined);
    await reached.promise;
    await using next = await server.crash({ wrapKind: (kind) => kind });
    await cut;
    while (await next.jobs.isActive('deactivate')) await sleep(10);
    const room = next.user(owner.token).room(joined.roomId);
    assert.ok((await bodiesOf(room)).every((text) => text === undefined));
    assert.equal(await membershipIn(room, userId), 'leave');
    const details = await next.api('GET', `/users/${name}`);
    assert.deepEqual([at(details.body, 'deactivated'), at(details.body, 'erased')], [true, true]);
    const [row] = await next.db.database.query(sql<{ most: number }>`
      select max(n) as most from (
        select count(*) as n from events where type = 'm.room.redaction' group by pdu::json #>> '{content,redacts}') r`);
    assert.equal(row?.most, 1, 'no event was redacted twice');
  });

  test('a deactivation that waits can be cancelled; the account stays shut', async () => {
    const reached = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    await using server = await startAdminServer({
      onLeave: async () => {
        reached.resolve();
        await gate.promise;
      },
    });
    const { name } = await prepare(server);
    const answer = server.api('POST', `/users/${name}/deactivate`, {});
    await reached.promise;
    const job = at((await server.api('GET', '/jobs?state=running')).body, 'chunk', 0);
    assert.equal(at(job, 'kind'), 'deactivate');
    await server.api('POST', `/jobs/${at(job, 'job_id')}/cancel`);
    gate.resolve();
    assert.equal((await answer).status, 500);
    assert.equal(at((await server.api('GET', `/jobs/${at(job, 'job_id')}`)).body, 'state'), 'cancelled');
    assert.equal(at((await server.api('GET', `/users/${name}`)).body, 'deactivated'), true);
  });
});
