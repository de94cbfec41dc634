/**
 * Pages of every list of the admin API: whatever their size, and while entries are added, each entry comes once and in
 * order. Which lists there are is taken from the declarations.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, startAdminServer } from '../support/admin-server.ts';
import { at, listAt } from '../support/json.ts';
import type { TestRoom } from '../support/rooms-server.ts';

interface List {
  readonly path: string;
  /** The keys of an entry that tell it from all others. */
  readonly key: readonly string[];
  /** Where the entries are. */
  readonly entries?: string;
  readonly query?: string;
  add(index: number): Promise<unknown>;
}

const SEEDED = 12;

describe('admin API: pages', () => {
  let server: AdminServer;
  let room: TestRoom;
  before(async () => {
    server = await startAdminServer();
    room = await server.user(server.admin).createRoom({ preset: 'public_chat' });
  });
  after(() => server[Symbol.asyncDispose]());

  const query = (...parameters: Parameters<typeof sql>) => server.db.database.query(sql(...parameters));
  const addRoom = async (index: number): Promise<void> => {
    const id = `!listed${index}:test.example`;
    await query`insert into rooms (room_id, room_version, creator, created_at) values (${id}, '11', '@a:b', 1)`;
    await query`
      insert into room_heads (room_id, forward_extremities, state_snapshot, depth, last_position)
      values (${id}, '{}', 0, 0, 5)`;
    const name = index % 4 === 0 ? null : `Name ${index % 3}`;
    await query`
      insert into room_statistics (room_id, position, name, joined_members, local_members, events, bytes)
      values (${id}, 5, ${name}, ${index % 3}, 0, ${index % 4}, ${(index % 5) * 100})`;
  };
  const addMedia = (index: number) => query`
    insert into media (origin, media_id, kind, user_id, sha256, size, created_at, last_access_at)
    values ('test.example', ${`listed${index}`}, 'local', '@root:test.example', 'x', ${index % 3}, ${index % 4}, 1)`;
  const addAccount = (index: number) => query`
    insert into accounts (localpart, created_at) values (${`listed${index}`}, ${index})`;
  const addMember = async (index: number): Promise<void> => {
    const { token } = await server.register(`member${index}`);
    await server.user(token).room(room.roomId).join();
  };

  const ROOMS = '/_hammerhead/v0/admin/rooms';
  const lists: readonly List[] = [
    { path: '/_hammerhead/v0/admin/users', key: ['entry_id'], add: addAccount },
    { path: '/_hammerhead/v0/admin/user-search', key: ['entry_id'], query: '&search=listed', add: addAccount },
    { path: ROOMS, key: ['room_id'], query: '&order_by=members', add: addRoom },
    { path: ROOMS, key: ['room_id'], query: '&order_by=events', add: addRoom },
    { path: ROOMS, key: ['room_id'], query: '&order_by=bytes', add: addRoom },
    { path: ROOMS, key: ['room_id'], query: '&order_by=name', add: addRoom },
    { path: ROOMS, key: ['room_id'], query: '&order_by=name&search=name', add: addRoom },
    { path: `${ROOMS}/{room_id}/members`, key: ['user_id'], entries: 'members', add: addMember },
    {
      path: `${ROOMS}/{room_id}/media`,
      key: ['event_id', 'media_id'],
      add: (index) => room.send(`mxc://test.example/b${index} mxc://test.example/a${index}`),
    },
    {
      path: '/_hammerhead/v0/admin/blocked-rooms',
      key: ['room_id'],
      add: (index) => server.api('PUT', `/rooms/${encodeURIComponent(`!blocked${index}:test.example`)}/block`),
    },
    { path: '/_hammerhead/v0/admin/users/{user_id}/media', key: ['media_id'], add: addMedia },
    {
      path: '/_hammerhead/v0/admin/statistics/media',
      key: ['user_id'],
      add: (index) => query`
        insert into media (origin, media_id, kind, user_id, sha256, size, created_at, last_access_at)
        values ('test.example', ${`of${index}`}, 'local', ${`@u${index}:test.example`}, 'x', ${index % 3}, 1, 1)`,
    },
    {
      path: '/_hammerhead/v0/admin/reports',
      key: ['report_id'],
      add: () => query`insert into reports (kind, reporter, reason, created_at) values ('user', '@a:b', 'x', 1)`,
    },
    {
      path: '/_hammerhead/v0/admin/registration-tokens',
      key: ['token'],
      add: (index) => query`insert into registration_tokens (token, created_at) values (${`t${index}`}, ${index % 4})`,
    },
    {
      path: '/_hammerhead/v0/admin/federation/destinations',
      key: ['server_name'],
      add: (index) => query`
        insert into destinations (server_name, pending_from, failures) values (${`s${index}.example`}, 1, 0)`,
    },
    {
      path: '/_hammerhead/v0/admin/jobs',
      key: ['job_id'],
      add: (index) => query`
        insert into jobs (kind, subject, params, state, run_after, requested_by, created_at)
        values ('listed', ${`s${index}`}, '{}', 'done', 1, 'test', 1)`,
    },
    {
      // Others are added by every request of this test.
      path: '/_hammerhead/v0/admin/audit',
      key: ['entry_id'],
      query: '&actor=listed',
      add: () => query`
        insert into audit_log (at, actor, method, path, params, ip, user_agent, status)
        values (1, 'listed', 'GET', '/', '{}', '', '', 200)`,
    },
  ];

  test('every list that has pages is tested here', () => {
    const declared = server.endpoints
      .filter(({ querySchema }) => querySchema !== undefined && 'since' in querySchema.properties)
      .map(({ paths }) => paths[0]);
    assert.deepEqual([...new Set(lists.map(({ path }) => path))].toSorted(), declared.toSorted());
  });

  let added = 0;
  for (const list of lists) {
    test(`property: ${list.path}${list.query ?? ''}`, async () => {
      const path = list.path
        .replace('{room_id}', encodeURIComponent(room.roomId))
        .replace('{user_id}', encodeURIComponent('@root:test.example'));
      const add = (): Promise<unknown> => list.add(added++);
      const load = async (limit: number, since: unknown) => {
        const token = server.admin;
        const from = since === undefined ? '' : `&since=${encodeURIComponent(String(since))}`;
        const answer = await server.request('GET', `${path}?limit=${limit}${list.query ?? ''}${from}`, { token });
        assert.equal(answer.status, 200, JSON.stringify(answer.body));
        const entries = listAt(answer.body, list.entries ?? 'chunk');
        assert.ok(entries.length <= limit);
        const keys = entries.map((entry) => JSON.stringify(list.key.map((key) => at(entry, key))));
        return { keys, next: at(answer.body, 'next_batch') };
      };
      for (let index = 0; index < SEEDED; index++) await add();
      await fc.assert(
        fc.asyncProperty(fc.integer({ min: 1, max: 30 }), fc.array(fc.boolean()), async (limit, adds) => {
          const { keys: expected, next: rest } = await load(1000, undefined);
          assert.ok(expected.length >= SEEDED && (rest === undefined || list.path.endsWith('/media')));
          const seen: string[] = [];
          let since: unknown;
          for (let page = 0; page < 1000; page++) {
            const { keys, next } = await load(limit, since);
            seen.push(...keys);
            if (next === undefined) break;
            since = next;
            if (adds[page] === true) await add();
          }
          assert.equal(new Set(seen).size, seen.length, 'an entry came twice');
          const known = new Set(expected);
          assert.deepEqual(
            seen.filter((key) => known.has(key)),
            expected,
          );
        }),
        { numRuns: 8 },
      );
    });
  }

  test('C20: a limit is brought within bounds, or is M_INVALID_PARAM', async () => {
    for (const list of lists) {
      const path = list.path.replace('{room_id}', encodeURIComponent(room.roomId)).replace('{user_id}', 'root');
      const load = (limit: string) =>
        server.request('GET', `${path}?limit=${limit}${list.query ?? ''}`, { token: server.admin });
      for (const [limit, status, atMost] of [
        ['-1', 200, 1],
        ['0', 200, 1],
        ['1000000000', 200, 1000],
        ['99999999999999999999999999', 200, 1000],
        ['x', 400, 0],
        ['', 400, 0],
        ['1e9', 400, 0],
      ] as const) {
        const answer = await load(limit);
        assert.equal(answer.status, status, `${path} ${limit}`);
        assert.ok(listAt(answer.body, list.entries ?? 'chunk').length <= atMost, `${path} ${limit}`);
      }
    }
  });

  test('foreign tokens are M_INVALID_PARAM', async () => {
    const tokens = ['x', 'bnVsbA', 'WzFd', Buffer.from('["a",1]').toString('base64url'), 'A'.repeat(9000)];
    for (const list of lists) {
      // Ids of users and rooms and names of servers are their own tokens.
      if (/(?:members|blocked-rooms|destinations)$/.test(list.path)) continue;
      const path = list.path.replace('{room_id}', encodeURIComponent(room.roomId)).replace('{user_id}', 'root');
      for (const since of tokens) {
        const answer = await server.request('GET', `${path}?since=${since}${list.query ?? ''}`, {
          token: server.admin,
        });
        assert.deepEqual([answer.status, at(answer.body, 'errcode')], [400, 'M_INVALID_PARAM'], `${path} ${since}`);
      }
    }
  });
});
