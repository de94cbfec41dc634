/**
 * A new name or avatar on its way into the rooms of a user: a job that answers nobody late, survives the end of the
 * process, and ends with the newest profile in every room.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROPAGATE_PROFILE } from '../../src/rooms/profile-propagation.ts';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, startAdminServer } from '../support/admin-server.ts';
import { at, listAt } from '../support/json.ts';
import type { TestRoom } from '../support/rooms-server.ts';

/** More than three steps. */
const MANY = 200;

interface Member {
  readonly userId: string;
  readonly token: string;
  readonly rooms: readonly string[];
}

async function createMember(server: AdminServer, name: string, count: number): Promise<Member> {
  const { userId, token } = await server.register(name);
  const user = server.user(token);
  const rooms: string[] = [];
  const createSome = async (): Promise<void> => {
    while (rooms.length < count) {
      const index = rooms.push('') - 1;
      rooms[index] = (await user.createRoom({ name: `room ${index}` })).roomId;
    }
  };
  await Promise.all(Array.from({ length: 8 }, createSome));
  return { userId, token, rooms };
}

const setName = (server: AdminServer, { userId, token }: Member, displayname: string) =>
  server.user(token).ok('PUT', `/profile/${encodeURIComponent(userId)}/displayname`, { displayname });

/** How many of the member's rooms show each name. */
async function countNames(server: AdminServer, { userId }: Member): Promise<ReadonlyMap<string | undefined, number>> {
  const rows = await server.db.database.query(sql<{ pdu: string }>`
    select e.pdu from current_state c join events e on e.event_nid = c.event_nid
    where c.type = 'm.room.member' and c.state_key = ${userId}`);
  const names = rows.map(({ pdu }) => at(JSON.parse(pdu), 'content', 'displayname'));
  const counts = Map.groupBy(names, (name) => (typeof name === 'string' ? name : undefined));
  return new Map([...counts].map(([name, all]) => [name, all.length]));
}

const jobsOf = (server: AdminServer) =>
  server.db.database.query(sql<{ state: string; progress: string }>`
    select state, progress from jobs where kind = ${PROPAGATE_PROFILE}`);

async function until(check: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    if (await check()) return;
    await sleep(25);
  }
  assert.fail('it did not come to be');
}

const hasEnded = async (server: AdminServer) => (await jobsOf(server)).length === 0;

test('the newest profile wins in every room, and no room gets one twice', async () => {
  const gate = Promise.withResolvers<void>();
  await using server = await startAdminServer({
    showsProfiles: true,
    wrapKind: (kind, name) => ({
      ...kind,
      async step(job) {
        if (name === PROPAGATE_PROFILE && job.cursor !== undefined) await gate.promise;
        return kind.step(job);
      },
    }),
  });
  const member = await createMember(server, 'popular', MANY);
  await setName(server, member, 'first');
  await until(async () => ((await countNames(server, member)).get('first') ?? 0) > 0);
  // Answered although the job has not got further than its first step.
  await Promise.all(['second', 'third', 'fourth'].map((name) => setName(server, member, name)));
  await setName(server, member, 'last');
  const shown = await countNames(server, member);
  gate.resolve();
  assert.equal(shown.get('last'), undefined);
  await until(() => hasEnded(server));
  assert.deepEqual([...(await countNames(server, member))], [['last', MANY]]);
  const [events] = await server.db.database.query(sql<{ most: number }>`
    select max(n) as most from (select count(*) as n from events
      where type = 'm.room.member' and sender = ${member.userId} group by room_id, pdu::json -> 'content' ->> 'displayname') c`);
  assert.equal(events?.most, 1, 'a room that shows the profile is sent nothing');
});

test('what a crash interrupts goes on after the next start', async () => {
  const gate = Promise.withResolvers<void>();
  let isHeld = false;
  let server = await startAdminServer({
    showsProfiles: true,
    wrapKind: (kind, name) => ({
      ...kind,
      async step(job) {
        isHeld = name === PROPAGATE_PROFILE && job.cursor !== undefined;
        if (isHeld) await gate.promise;
        return kind.step(job);
      },
    }),
  });
  try {
    const member = await createMember(server, 'unlucky', MANY);
    await setName(server, member, 'kept');
    await until(async () => isHeld);
    const before = (await countNames(server, member)).get('kept') ?? 0;
    assert.ok(before > 0 && before < MANY, `${before} rooms`);
    const resumed: unknown[] = [];
    server = await server.crash({
      wrapKind: (kind, name) => ({
        ...kind,
        step(job) {
          if (name === PROPAGATE_PROFILE) resumed.push(job.cursor);
          return kind.step(job);
        },
      }),
    });
    await until(() => hasEnded(server));
    assert.deepEqual([...(await countNames(server, member))], [['kept', MANY]]);
    assert.notEqual(resumed[0], undefined, 'it did not begin anew');
  } finally {
    gate.resolve();
    await server[Symbol.asyncDispose]();
  }
});

test('few rooms are shown a profile at once while others have many', async () => {
  await using server = await startAdminServer({ showsProfiles: true });
  const busy = await Promise.all(
    ['busy1', 'busy2', 'busy3', 'busy4', 'busy5'].map((name) => createMember(server, name, MANY)),
  );
  const quiet = await createMember(server, 'quiet', 2);
  await Promise.all(busy.map((member) => setName(server, member, 'busy')));
  await setName(server, quiet, 'prompt');
  await until(async () => (await countNames(server, quiet)).get('prompt') === 2);
  const shown = await Promise.all(busy.map(async (member) => (await countNames(server, member)).get('busy') ?? 0));
  assert.ok(
    shown.some((count) => count < MANY),
    'it did not wait for them all',
  );
  await until(() => hasEnded(server));
  for (const member of busy) assert.deepEqual([...(await countNames(server, member))], [['busy', MANY]]);
});

test('a new profile reaches joined rooms only, and what belongs to a join goes', async () => {
  await using server = await startAdminServer({ showsProfiles: true });
  const member = await createMember(server, 'leaver', 3);
  const user = server.user(member.token);
  const [left, named, plain] = member.rooms.map((roomId): TestRoom => user.room(roomId));
  assert.ok(left && named && plain);
  await left.leave();
  await named.setState(
    'm.room.member',
    { membership: 'join', displayname: 'here only', reason: 'why not' },
    member.userId,
  );
  await setName(server, member, 'everywhere');
  await user.ok('PUT', `/profile/${encodeURIComponent(member.userId)}/avatar_url`, { avatar_url: 'mxc://test/a' });
  await until(() => hasEnded(server));
  const shown = { membership: 'join', displayname: 'everywhere', avatar_url: 'mxc://test/a' };
  for (const room of [named, plain]) assert.deepEqual(await room.state('m.room.member', member.userId), shown);
  assert.deepEqual(await left.state('m.room.member', member.userId), { membership: 'leave' });
  await user.ok('DELETE', `/profile/${encodeURIComponent(member.userId)}/displayname`);
  await until(() => hasEnded(server));
  const { displayname: _gone, ...nameless } = shown;
  assert.deepEqual(await plain.state('m.room.member', member.userId), nameless);
  const kinds = listAt((await server.api('GET', '/jobs')).body, 'chunk').map((job) => at(job, 'kind'));
  assert.ok(!kinds.includes(PROPAGATE_PROFILE), 'it leaves no record behind');
});
