/**
 * Servers that were apart come together: whatever their users did on each side, once everything has reached everybody all
 * have the same current state and the same accepted events. Cuts, changes and restarts come from a seed that repeats them.
 *
 *   node test/integration/receive-convergence.test.ts [--seeds 200] [--first 1]
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseArgs } from 'node:util';
import type { EventTemplate } from '../../src/engine/types.ts';
import { MatrixError } from '../../src/protocol/errors.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import { sql } from '../../src/storage/sql.ts';
import { createChance } from '../support/chance.ts';
import { member, message, state, versionOf } from '../support/engine.ts';
import { Mesh, type MeshServer } from '../support/mesh.ts';
import { currentState } from '../support/receiver.ts';
import { createTestSync, joinedRoom } from '../support/sync.ts';

const { values: options } = parseArgs({
  options: { seeds: { type: 'string' }, first: { type: 'string' } },
  strict: false,
});
const SEEDS = Number(options.seeds ?? (process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 20 : 200));
/** Another one tries seeds that no run had yet, or repeats one. */
const FIRST_SEED = Number(options.first ?? 1);
const VERSIONS = ['2', '6', '10', '11', '12'];
const ROUNDS = 4;
const STEPS_PER_ROUND = 4;

async function createSharedRoom(mesh: Mesh, version: string): Promise<RoomId> {
  const [a, b, c] = mesh.servers;
  assert.ok(a && b && c);
  const creator = a.user('u0');
  const levels = { [b.user('u0')]: 100, [c.user('u0')]: 60, [b.user('u1')]: 50 };
  const room = await a.at.engine.createRoom({
    version: versionOf(version),
    creator,
    creationContent: {},
    isPublic: false,
    events: () => [
      member(creator, 'join'),
      state('m.room.power_levels', { users: version === '12' ? levels : { ...levels, [creator]: 100 } }, creator),
      state('m.room.join_rules', { join_rule: 'public' }, creator),
      state('m.room.history_visibility', { history_visibility: 'shared' }, creator),
    ],
  });
  for (const server of [b, c]) await server.join(server.user('u0'), room.roomId, a);
  await mesh.exchange(room.roomId);
  return room.roomId;
}

/** Something that a user of the server may try; most of it is allowed, some is not. */
function nextStep(server: MeshServer, users: readonly UserId[], chance: (bound: number) => number): EventTemplate {
  const own = server.user(`u${chance(3)}`);
  // One user of each server stays, or it would take no part in the room any more.
  const guests = users.filter((user) => !user.startsWith('@u0:'));
  const other = guests[chance(guests.length)] ?? own;
  switch (chance(10)) {
    case 0:
    case 1:
      return message(`m${chance(1e6)}`, own);
    case 2:
      return state('m.room.topic', { topic: `t${chance(1e6)}` }, own);
    case 3:
      return state('m.room.name', { name: `n${chance(1e6)}` }, own);
    case 4:
      return member(own, 'join');
    case 5:
      return own.startsWith('@u0:') ? member(other, 'leave', own) : member(own, 'leave');
    case 6:
      return member(other, 'ban', own);
    case 7:
      return member(other, 'leave', own);
    case 8:
      return state('m.room.join_rules', { join_rule: chance(2) === 0 ? 'public' : 'invite' }, own);
    default:
      return state('m.room.power_levels', { users: levelsOf(users, own, chance) }, own);
  }
}

function levelsOf(users: readonly UserId[], own: UserId, chance: (bound: number) => number) {
  const levels = Object.fromEntries(users.slice(1).map((user) => [user, chance(5) === 0 ? 0 : 50 + chance(3) * 25]));
  return { ...levels, [own]: 100 };
}

async function attempt(server: MeshServer, roomId: RoomId, step: EventTemplate): Promise<void> {
  try {
    await server.send(roomId, step);
  } catch (cause) {
    if (!(cause instanceof MatrixError)) throw cause;
  }
}

/** A client that only ever sees increments, and what it takes for the room's state. */
class Follower {
  readonly state = new Map<string, string>();
  readonly #server: MeshServer;
  readonly #useStateAfter: boolean;
  #since: string | undefined;
  #client: { readonly at: MeshServer['at']; readonly sync: ReturnType<typeof createTestSync> } | undefined;

  constructor(server: MeshServer, useStateAfter: boolean) {
    this.#server = server;
    this.#useStateAfter = useStateAfter;
  }

  async sync(roomId: RoomId): Promise<void> {
    const { at } = this.#server;
    // Warm as long as the server is up; after a restart all comes from the database.
    if (this.#client?.at !== at) this.#client = { at, sync: createTestSync(at) };
    const useStateAfter = this.#useStateAfter;
    const filter = { room: { timeline: { limit: 4 } } };
    const synced = await this.#client.sync.get(this.#server.user('u0'), { since: this.#since, useStateAfter, filter });
    this.#since = synced.next_batch;
    const room = joinedRoom(synced, roomId);
    const events = useStateAfter
      ? room?.state_after?.events
      : [...(room?.state.events ?? []), ...(room?.timeline.events ?? [])];
    for (const { type, state_key: key, event_id: eventId } of events ?? []) {
      if (key !== undefined) this.state.set(`${type} ${key}`, eventId);
    }
  }
}

/** What was not rejected, and what was: every server has to come to the same. */
async function judgedEvents({ at }: MeshServer, roomId: RoomId): Promise<ReadonlyMap<string, boolean>> {
  const rows = await at.db.database.query(sql<{ event_id: string; rejected: boolean }>`
    select event_id, rejection is not null as rejected from events
    where room_id = ${roomId} and not outlier and type <> 'm.room.create' order by event_id`);
  return new Map(rows.map(({ event_id, rejected }) => [event_id, rejected]));
}

describe('convergence', { concurrency: 4 }, () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    const version = VERSIONS[seed % VERSIONS.length] ?? '12';
    test(`A26, A27, L9: three servers come to the same state (seed ${seed}, version ${version})`, async () => {
      await using mesh = new Mesh();
      for (const name of ['a.example', 'b.example', 'c.example']) await mesh.add(name);
      const chance = createChance(seed);
      const followers = mesh.servers.flatMap((server) => [new Follower(server, false), new Follower(server, true)]);
      const roomId = await createSharedRoom(mesh, version);
      const [creating] = mesh.servers;
      assert.ok(creating);
      const history = new Set((await judgedEvents(creating, roomId)).keys());
      const users = mesh.servers.flatMap((server) => [0, 1, 2].map((index) => server.user(`u${index}`)));
      for (let round = 0; round < ROUNDS; round++) {
        const [a, b] = [mesh.servers[chance(3)], mesh.servers[chance(3)]];
        if (a !== undefined && b !== undefined && a !== b) mesh.cut(a, b);
        for (let index = 0; index < STEPS_PER_ROUND; index++) {
          await Promise.all(mesh.servers.map((server) => attempt(server, roomId, nextStep(server, users, chance))));
          if (chance(3) === 0) await mesh.exchange(roomId);
          for (const follower of followers) if (chance(4) === 0) await follower.sync(roomId);
        }
        if (chance(4) === 0) await mesh.servers[chance(3)]?.restart();
        if (chance(2) === 0) mesh.heal();
      }
      mesh.heal();
      await mesh.exchange(roomId);
      // What one side soft-failed comes back by what follows it: everybody says something once all can hear it.
      for (const server of [...mesh.servers, ...mesh.servers]) {
        await server.send(roomId, message('together again', server.user('u0')));
        await mesh.exchange(roomId);
      }
      const [first, ...others] = await Promise.all(mesh.servers.map(({ at }) => currentState(at, roomId)));
      for (const other of others) assert.deepEqual(other, first);
      for (const follower of followers) {
        await follower.sync(roomId);
        // That a key is gone a sync cannot say.
        const seen = new Map([...(first ?? [])].map(([key]) => [key, follower.state.get(key)]));
        assert.deepEqual(seen, first, 'clients come to the same state');
      }
      const [events, ...otherEvents] = await Promise.all(mesh.servers.map((server) => judgedEvents(server, roomId)));
      const isShared = ([eventId]: [string, boolean]): boolean => !history.has(eventId);
      const shared = [...(events ?? [])].filter(isShared);
      for (const other of otherEvents) assert.deepEqual([...other].filter(isShared), shared);
      const server = mesh.servers[chance(3)];
      await server?.restart();
      if (server !== undefined)
        assert.deepEqual(await currentState(server.at, roomId), first, 'the database has it too');
    });
  }
});
