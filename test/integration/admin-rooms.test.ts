/**
 * Deleting rooms, by administrators and by themselves: each sentence of the reference, and what a crash leaves.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deleteRoomRows, TABLES_OF_ROOMS } from '../../src/storage/room-deletion.ts';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, type AdminServerOptions, startAdminServer } from '../support/admin-server.ts';
import { ALICE, createTestEngine, SERVER, versionOf } from '../support/engine.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';
import type { TestRoom } from '../support/rooms-server.ts';

/** Tables with a `room_id` that outlive the room, and why. */
const KEPT: Readonly<Record<string, string>> = {
  blocked_rooms: 'keeps users out of a room that was deleted, too',
  parting_events: 'tells servers that were away that our users left',
  parting_servers: 'the same',
  deleted_room_members: 'tells clients that were away that they left',
};

interface Populated {
  readonly room: TestRoom;
  readonly joined: { readonly token: string; readonly userId: string };
  readonly invited: { readonly token: string; readonly userId: string };
  readonly knocking: { readonly token: string; readonly userId: string };
}

let count = 0;

/** A room with a creator, a joined, an invited and a knocking user, and a row in as many tables as can be. */
async function populate(server: AdminServer): Promise<Populated> {
  count += 1;
  const [owner, joined, invited, knocking] = await Promise.all(
    ['owner', 'joined', 'invited', 'knocking'].map((name) => server.register(`${name}${count}`)),
  );
  if (owner === undefined || joined === undefined || invited === undefined || knocking === undefined) throw new Error();
  const room = await server.user(owner.token).createRoom({
    preset: 'public_chat',
    room_alias_name: `alias${count}`,
    initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
    invite: [joined.userId, invited.userId],
  });
  await server.user(joined.token).room(room.roomId).join();
  const knock = await server.user(knocking.token).call('POST', `/knock/${encodeURIComponent(room.roomId)}`, {});
  assert.equal(knock.status, 200);
  await room.send('hello');
  await server
    .user(joined.token)
    .ok('PUT', `/user/${joined.userId}/rooms/${encodeURIComponent(room.roomId)}/account_data/test`, {});
  return { room, joined, invited, knocking };
}

const deleteRoom = (server: AdminServer, roomId: string, body: unknown = {}) =>
  server.api('DELETE', `/rooms/${encodeURIComponent(roomId)}`, body);

/** Rows by table that have the room's id, of the tables that the schema has. */
async function countRows(server: AdminServer, roomId: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const table of await tablesWithRooms(server)) {
    const [row] = await server.db.database.query<{ n: number }>({
      name: `count_${table}`,
      text: `select count(*) as n from ${table} where room_id = $1`,
      values: [roomId],
    });
    if (row !== undefined && row.n > 0) counts[table] = row.n;
  }
  return counts;
}

async function tablesWithRooms({ db }: Pick<AdminServer, 'db'>): Promise<readonly string[]> {
  const rows = await db.database.query(sql<{ table_name: string }>`
    select table_name from information_schema.columns
    where column_name = 'room_id' and table_schema = 'public' order by table_name`);
  return rows.map((row) => row.table_name);
}

describe('admin API: delete room', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test('answers an empty object, and nothing of the room is left in any table', async () => {
    const { room } = await populate(server);
    assert.ok(Object.keys(await countRows(server, room.roomId)).length >= 8);
    const { status, body } = await deleteRoom(server, room.roomId);
    assert.deepEqual([status, body], [200, {}]);
    assert.deepEqual(Object.keys(await countRows(server, room.roomId)), ['deleted_room_members']);
    assert.equal((await room.get('/state')).status, 403);
    assert.equal((await server.api('GET', `/rooms/${encodeURIComponent(room.roomId)}`)).status, 404);
  });

  test('every table of the schema that holds a room is emptied, or is known to outlive it', async () => {
    const known = [...TABLES_OF_ROOMS, ...Object.keys(KEPT)];
    assert.deepEqual(
      (await tablesWithRooms(server)).filter((table) => !known.includes(table)),
      [],
    );
    assert.deepEqual(
      TABLES_OF_ROOMS.filter((table) => table in KEPT),
      [],
    );
    // Whatever refers to a room or an event by a foreign key has a room_id, or goes with what it refers to.
    const references = await server.db.database.query(sql<{ table_name: string; deletion: string }>`
      select conrelid::regclass::text as table_name, confdeltype::text as deletion from pg_constraint
      where contype = 'f' and confrelid in ('rooms'::regclass, 'events'::regclass, 'state_snapshots'::regclass)`);
    assert.deepEqual(
      references.filter(({ table_name, deletion }) => deletion !== 'c' && !known.includes(table_name)),
      [],
    );
  });

  test('every table that is emptied has an index for it', async () => {
    for (const table of TABLES_OF_ROOMS) {
      const rows = await server.db.database.query<{ def: string }>({
        name: `index_${table}`,
        text: 'select indexdef as def from pg_indexes where tablename = $1',
        values: [table],
      });
      assert.ok(
        rows.some(({ def }) => /\(room_id\b/.test(def)),
        table,
      );
    }
  });

  test('local members leave, invites are declined and knocks taken back, as ordinary membership events', async () => {
    const { room, joined, invited, knocking } = await populate(server);
    const waiting = await Promise.all(
      [joined, invited, knocking].map(async ({ token }) => {
        const sync = (query: string) => server.request('GET', `/_matrix/client/v3/sync${query}`, { token });
        const since = textAt((await sync('')).body, 'next_batch');
        return { answer: sync(`?since=${since}&timeout=20000`) };
      }),
    );
    await sleep(50);
    assert.equal((await deleteRoom(server, room.roomId)).status, 200);
    for (const { answer } of waiting) {
      const { body } = await answer;
      assert.deepEqual(
        entriesAt(body, 'rooms', 'leave').map(([roomId]) => roomId),
        [room.roomId],
      );
    }
  });

  test('a client that was away hears that the room was left, once', async () => {
    const { room, joined } = await populate(server);
    const sync = (since = '') => server.request('GET', `/_matrix/client/v3/sync${since}`, { token: joined.token });
    const since = textAt((await sync()).body, 'next_batch');
    assert.equal((await deleteRoom(server, room.roomId)).status, 200);
    const { body } = await sync(`?since=${since}`);
    assert.deepEqual(entriesAt(body, 'rooms', 'leave'), [
      [
        room.roomId,
        { timeline: { events: [], limited: false, prev_batch: since.split('~')[0] }, state: { events: [] } },
      ],
    ]);
    const later = await sync(`?since=${textAt(body, 'next_batch')}`);
    assert.deepEqual(entriesAt(later.body, 'rooms', 'leave'), []);
  });

  test('a room that nobody knows is deleted with success; what is no room id is not', async () => {
    assert.deepEqual((await deleteRoom(server, '!unknown:test.example')).body, {});
    assert.equal((await deleteRoom(server, 'nothing')).status, 400);
  });

  test('what is no JSON is M_NOT_JSON', async () => {
    const answer = await server.request('DELETE', `/_hammerhead/v0/admin/rooms/${encodeURIComponent('!a:b')}`, {
      token: server.admin,
      raw: '{"force":',
    });
    assert.deepEqual([answer.status, at(answer.body, 'errcode')], [400, 'M_NOT_JSON']);
  });

  test('other rooms of the same users stay', async () => {
    const { room, joined } = await populate(server);
    const other = await server.user(joined.token).createRoom();
    await deleteRoom(server, room.roomId);
    await other.send('still here');
    assert.deepEqual(at((await server.api('GET', `/users/${joined.userId}`)).body, 'rooms', 'join'), [other.roomId]);
  });

  test('the alias of a deleted room is free again, and its id stays dead', async () => {
    const { room, joined } = await populate(server);
    const user = server.user(joined.token);
    const alias = `alias${count}`;
    await deleteRoom(server, room.roomId);
    await user.createRoom({ room_alias_name: alias });
    assert.equal((await user.call('POST', `/join/${encodeURIComponent(room.roomId)}`, {})).status, 404);
  });

  test('nobody enters a blocked room, also after it was deleted; unblocked it is as before', async () => {
    const { room, invited } = await populate(server);
    const path = `/rooms/${encodeURIComponent(room.roomId)}/block`;
    const guest = server.user(invited.token);
    const attempts = [
      () => guest.call('POST', `/join/${encodeURIComponent(room.roomId)}`, {}),
      () => guest.room(room.roomId).call('PUT', `/state/m.room.member/${invited.userId}`, { membership: 'join' }),
      () => room.call('POST', '/invite', { user_id: '@root:test.example' }),
    ];
    assert.deepEqual((await server.api('PUT', path)).body, {});
    for (const attempt of attempts) assert.equal((await attempt()).status, 403);
    const listed = listAt((await server.api('GET', '/blocked-rooms')).body, 'chunk');
    assert.deepEqual(
      listed.map((one) => [at(one, 'room_id'), at(one, 'blocked_by')]),
      [[room.roomId, '@root:test.example']],
    );
    assert.deepEqual((await server.api('DELETE', path)).body, {});
    for (const attempt of attempts) assert.equal((await attempt()).status, 200);
    await server.api('PUT', path);
    await deleteRoom(server, room.roomId);
    assert.equal((await attempts[0]?.())?.status, 403);
  });

  test('the job and its progress are listed', async () => {
    const { room } = await populate(server);
    await deleteRoom(server, room.roomId);
    const { body } = await server.api('GET', '/jobs?state=done&limit=1');
    const job = at(body, 'chunk', 0);
    assert.deepEqual(
      [at(job, 'kind'), at(job, 'subject'), at(job, 'state'), at(job, 'progress'), at(job, 'requested_by')],
      ['delete_room', room.roomId, 'done', { members_left: 4, members_not_left: 0 }, '@root:test.example'],
    );
    assert.deepEqual((await server.api('GET', `/jobs/${at(job, 'job_id')}`)).body, job);
    assert.equal((await server.api('GET', '/jobs/999999')).status, 404);
  });

  test('rooms are listed and searched; details and members are shown', async () => {
    const { token, userId } = await server.register('namer');
    const { roomId } = await server.user(token).createRoom({ name: 'A Name to Find', topic: 'Things' });
    const found = await server.api('GET', '/rooms?search=name%20to');
    assert.deepEqual(
      listAt(found.body, 'chunk').map((room) => [at(room, 'room_id'), at(room, 'local_members')]),
      [[roomId, 1]],
    );
    const path = `/rooms/${encodeURIComponent(roomId)}`;
    const { body } = await server.api('GET', path);
    assert.deepEqual(
      [at(body, 'name'), at(body, 'topic'), at(body, 'joined_members')],
      ['A Name to Find', 'Things', 1],
    );
    const { members } = (await server.api('GET', `${path}/members`)).body as { members: { user_id: string }[] };
    assert.deepEqual(
      members.map(({ user_id }) => user_id),
      [userId],
    );
    // Control characters in a name, which PostgreSQL's JSON functions refuse, must not take the list away.
    const { roomId: odd } = await server.user(token).createRoom();
    await server.db.database.query(sql`
      insert into events (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, pdu)
      values (-1, '$odd', ${odd}, 'm.room.name', '', ${userId}, 1, 1, ${'{"content":{"name":"a\\u0000b"}}'})`);
    await server.db.database.query(sql`
      insert into current_state (room_id, type, state_key, event_nid) values (${odd}, 'm.room.name', '', -1)`);
    const page = await server.api('GET', '/rooms?limit=1&order_by=events');
    assert.equal(typeof at(page.body, 'next_batch'), 'string');
    assert.equal((await server.api('GET', '/rooms?order_by=nothing')).status, 400);
    const statistics = await server.api('GET', '/statistics');
    assert.ok(Number(at(statistics.body, 'database_bytes')) > 1_000_000);
  });
});

describe('admin API: delete room when something fails', () => {
  const starting = async (options: AdminServerOptions): Promise<AdminServer> => startAdminServer(options);

  test('a second deletion while one is in progress is M_LIMIT_EXCEEDED', async () => {
    const gate = Promise.withResolvers<void>();
    await using server = await starting({ onLeave: () => gate.promise });
    const { room } = await populate(server);
    const first = deleteRoom(server, room.roomId);
    while (!(await server.jobs.isActive('delete_room'))) await sleep(5);
    for (const roomId of [room.roomId, '!other:test.example']) {
      const { status, body } = await deleteRoom(server, roomId);
      assert.deepEqual([status, at(body, 'errcode')], [429, 'M_LIMIT_EXCEEDED']);
      assert.ok(Number(at(body, 'retry_after_ms')) > 0);
    }
    gate.resolve();
    assert.equal((await first).status, 200);
    assert.equal((await deleteRoom(server, room.roomId)).status, 200);
  });

  test('without force the first error aborts, and the membership changes before it stay', async () => {
    await using server = await starting({
      onLeave: async (userId) => {
        if (userId.startsWith('@knocking')) throw new Error('this one stays');
      },
    });
    const { room, joined, knocking } = await populate(server);
    const sync = async (query = '') =>
      (await server.request('GET', `/_matrix/client/v3/sync${query}`, { token: knocking.token })).body;
    const since = textAt(await sync(), 'next_batch');
    for (const body of [{}, { force: false }]) {
      const answer = await deleteRoom(server, room.roomId, body);
      assert.deepEqual([answer.status, at(answer.body, 'errcode')], [500, 'M_UNKNOWN']);
    }
    assert.ok((await countRows(server, room.roomId))['events'] !== undefined);
    assert.deepEqual(at((await server.api('GET', `/users/${joined.userId}`)).body, 'rooms', 'join'), []);
    assert.equal((await deleteRoom(server, room.roomId, { force: true })).status, 200);
    assert.deepEqual(Object.keys(await countRows(server, room.roomId)), ['deleted_room_members']);
    // The knocking user's membership went without an event: their client hears of it with the next thing that happens.
    await server.user(server.admin).createRoom();
    assert.deepEqual(
      entriesAt(await sync(`?since=${since}`), 'rooms', 'leave').map(([roomId]) => roomId),
      [room.roomId],
    );
  });

  test('the deletion is one transaction: when a table fails, no data is deleted; with force the rest goes', async () => {
    await using server = await starting({});
    const { room } = await populate(server);
    for (const text of [
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this table'; end $$`,
      'create trigger refuse before delete on room_aliases for each row execute function refuse()',
    ]) {
      await server.db.database.query({ name: text.slice(0, 30), text, values: [] });
    }
    const before = await countRows(server, room.roomId);
    assert.equal((await deleteRoom(server, room.roomId)).status, 500);
    const {
      events: _more,
      state_snapshots: _snapshots,
      memberships,
      room_aliases,
      ...others
    } = await countRows(server, room.roomId);
    const { events: _events, state_snapshots: _before, ...expected } = before;
    assert.deepEqual({ ...others, memberships, room_aliases }, expected);
    assert.equal((await deleteRoom(server, room.roomId, { force: true })).status, 200);
    assert.deepEqual(Object.keys(await countRows(server, room.roomId)).sort(), [
      'deleted_room_members',
      'room_aliases',
    ]);
  });

  test('a process that ends in the middle of the evacuation: the next one finishes', async () => {
    const reached = Promise.withResolvers<void>();
    const server = await starting({
      onLeave: async (userId) => {
        if (!userId.startsWith('@owner')) return;
        reached.resolve();
        await new Promise(() => undefined);
      },
    });
    const { room } = await populate(server);
    const cut = deleteRoom(server, room.roomId).catch(() => undefined);
    await reached.promise;
    await using next = await server.crash({ onLeave: async () => undefined });
    await cut;
    while (await next.jobs.isActive('delete_room')) await sleep(5);
    assert.deepEqual(Object.keys(await countRows(next, room.roomId)), ['deleted_room_members']);
  });

  test('a process that ends between evacuation and deletion: the next one finishes', async () => {
    const reached = Promise.withResolvers<void>();
    const server = await starting({
      wrapKind: (kind, name) => ({
        ...kind,
        async step(job) {
          if (name !== 'delete_room' || job.cursor?.['phase'] !== 'delete') return kind.step(job);
          reached.resolve();
          return new Promise(() => undefined);
        },
      }),
    });
    const { room } = await populate(server);
    const cut = deleteRoom(server, room.roomId).catch(() => undefined);
    await reached.promise;
    assert.ok((await countRows(server, room.roomId))['events'] !== undefined);
    await using next = await server.crash({ wrapKind: (kind) => kind });
    await cut;
    while (await next.jobs.isActive('delete_room')) await sleep(5);
    assert.deepEqual(Object.keys(await countRows(next, room.roomId)), ['deleted_room_members']);
  });

  test('while a room is deleted nobody can write to it, and afterwards it is not known', async () => {
    await using engine = await createTestEngine();
    const { roomId } = await engine.engine.createRoom({
      version: versionOf('12'),
      creator: ALICE,
      creationContent: {},
      events: () => [{ type: 'm.room.member', sender: ALICE, stateKey: ALICE, content: { membership: 'join' } }],
      isPublic: false,
    });
    const send = () =>
      engine.engine.send({
        roomId,
        decide: () => [{ type: 'm.room.message', sender: ALICE, content: { body: 'x' } }],
      });
    const before = send();
    const gone = engine.engine.dropRoom(roomId, async (snapshot) => {
      // Its own head is there, with what was sent before.
      assert.equal(snapshot?.parts.depth, 3);
      await engine.db.database.transaction((tx) => deleteRoomRows(tx, roomId, SERVER));
      return true;
    });
    const during = send();
    await before;
    assert.equal(await gone, true);
    await assert.rejects(during, { errcode: 'M_NOT_FOUND' });
    assert.equal(engine.engine.getSnapshot(roomId), undefined);
    assert.equal(await engine.engine.loadSnapshot(roomId), undefined);
    const [row] = await engine.db.database.query(sql<{ n: number }>`select count(*) as n from events`);
    assert.equal(row?.n, 0);
  });
});
