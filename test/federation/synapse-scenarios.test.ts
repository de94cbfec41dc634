/**
 * What users of ours and of a real Synapse do with rooms of each other: invites, knocks, restricted rooms, bans taken back,
 * upgrades, history from before they came; each in both directions, in every version that knows it. Afterwards, and after a
 * restart of both, they have the same state of every room that they are in together, event by event.
 *
 *   node --test test/federation/synapse-scenarios.test.ts     SYNAPSE_VENV: see synapse.test.ts
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { DEFAULT_ROOM_VERSION, ROOM_VERSIONS, type RoomVersion } from '../../src/protocol/room-version.ts';
import {
  type Actor,
  change,
  createRoom,
  type Interop,
  join,
  knock,
  leave,
  listEvents,
  listSigners,
  SKIPPED,
  say,
  startInterop,
  talk,
  tryJoin,
  untilEvent,
  untilMember,
  untilOut,
  untilSameState,
  untilSection,
} from '../support/interop.ts';
import { at, textAt } from '../support/json.ts';
import { inRoom } from '../support/pair.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let interop: Interop;
/** Where both hosts and guests are at the end. */
const shared: { readonly roomId: string; readonly host: Actor; readonly guest: Actor }[] = [];

before(async () => {
  if (SKIPPED === false) interop = stack.use(await startInterop());
});

after(() => stack.disposeAsync());

interface Cast {
  readonly version: string;
  readonly host: Actor;
  readonly guest: Actor;
  /** On the guest's server too, and in none of the rooms. */
  readonly stranger: Actor;
}

interface Scenario {
  readonly name: string;
  readonly isIn?: (version: RoomVersion) => boolean;
  /** Gives the rooms in which host and guest are together at the end, and may talk. */
  play(cast: Cast): Promise<readonly string[]>;
}

/** More than one page, and more than what comes with a join. */
const HISTORY = 45;

const SCENARIOS: readonly Scenario[] = [
  {
    name: 'an invite is accepted, and another rejected',
    async play({ version, host, guest, stranger }) {
      const roomId = await createRoom(host, version, { joinRules: { join_rule: 'invite' } });
      assert.equal(await tryJoin(guest, roomId, host), 403);
      await change(host, roomId, 'invite', guest);
      await untilSection(guest, roomId, 'invite');
      await join(guest, roomId, host);
      await change(guest, roomId, 'invite', stranger);
      await untilSection(stranger, roomId, 'invite');
      await leave(stranger, roomId);
      await untilMember(host, roomId, stranger, 'leave');
      return [roomId];
    },
  },
  {
    name: 'an invite to a room that the guest has nobody in is rejected',
    async play({ version, host, guest }) {
      const roomId = await createRoom(host, version, { joinRules: { join_rule: 'invite' } });
      await change(host, roomId, 'invite', guest);
      await untilSection(guest, roomId, 'invite');
      await leave(guest, roomId);
      await untilMember(host, roomId, guest, 'leave');
      return [];
    },
  },
  {
    name: 'a knock is answered by an invite, another taken back, a third refused',
    isIn: ({ knock: isKnown }) => isKnown,
    async play({ version, host, guest, stranger }) {
      const roomId = await createRoom(host, version, { joinRules: { join_rule: 'knock' } });
      await knock(guest, roomId, host);
      await untilMember(host, roomId, guest, 'knock');
      await untilSection(guest, roomId, 'knock');
      // Synapse tells nobody that a knock was taken back.
      if (guest.serverName === interop.ours.serverName) {
        await leave(guest, roomId);
        await untilMember(host, roomId, guest, 'leave');
        await knock(guest, roomId, host);
      }
      await change(host, roomId, 'invite', guest);
      await untilSection(guest, roomId, 'invite');
      await join(guest, roomId, host);
      await knock(stranger, roomId, host);
      await untilMember(host, roomId, stranger, 'knock');
      await change(host, roomId, 'kick', stranger);
      await untilOut(stranger, roomId);
      return [roomId];
    },
  },
  {
    name: 'a restricted room lets in who is in the other one, with the signature of the server that vouches',
    isIn: ({ restricted }) => restricted,
    async play(cast) {
      const { space, roomId } = await playRestricted(cast, 'restricted');
      assert.equal(await tryJoin(cast.stranger, roomId, cast.host), 403);
      return [space, roomId];
    },
  },
  {
    name: 'a room for members of the other one is knocked on by who is not in it',
    isIn: ({ knockRestricted }) => knockRestricted,
    async play(cast) {
      const { space, roomId } = await playRestricted(cast, 'knock_restricted');
      const { host, guest, stranger } = cast;
      assert.equal(await tryJoin(stranger, roomId, host), 403);
      await knock(stranger, roomId, host);
      await untilMember(host, roomId, stranger, 'knock');
      await change(host, roomId, 'invite', stranger);
      await untilMember(guest, roomId, stranger, 'invite');
      await join(stranger, roomId, host);
      return [space, roomId];
    },
  },
  {
    name: 'who was banned comes back when the ban is taken back',
    async play({ version, host, guest, stranger }) {
      const roomId = await createRoom(host, version);
      await join(guest, roomId, host);
      await join(stranger, roomId, host);
      await change(host, roomId, 'ban', guest);
      await untilMember(stranger, roomId, guest, 'ban');
      assert.equal(await tryJoin(guest, roomId, host), 403);
      await change(host, roomId, 'unban', guest);
      await untilMember(stranger, roomId, guest, 'leave');
      await join(guest, roomId, host);
      return [roomId];
    },
  },
  {
    name: 'who was banned alone comes back when the ban is taken back',
    async play({ version, host, guest }) {
      const roomId = await createRoom(host, version);
      await join(guest, roomId, host);
      await change(host, roomId, 'ban', guest);
      await untilOut(guest, roomId);
      assert.equal(await tryJoin(guest, roomId, host), 403);
      await change(host, roomId, 'unban', guest);
      await join(guest, roomId, host);
      return [roomId];
    },
  },
  {
    name: 'a room is upgraded, and its members follow',
    async play({ version, host, guest }) {
      const roomId = await createRoom(host, version);
      await join(guest, roomId, host);
      const body = { new_version: DEFAULT_ROOM_VERSION.id };
      const upgraded = await host.client.ok('POST', inRoom(roomId, '/upgrade'), body);
      const replacement = textAt(upgraded, 'replacement_room');
      const path = inRoom(roomId, '/state/m.room.tombstone');
      await until(async () => at((await guest.client.call('GET', path)).body, 'replacement_room') === replacement);
      await join(guest, replacement, host);
      const create = await guest.client.ok('GET', inRoom(replacement, '/state/m.room.create'));
      assert.equal(at(create, 'predecessor', 'room_id'), roomId);
      assert.equal(at(create, 'room_version'), DEFAULT_ROOM_VERSION.id);
      // Nobody but its moderators says anything there any more.
      await untilSameState(host, guest, roomId);
      return [replacement];
    },
  },
  {
    name: 'history from before the guest came is read back, event by event',
    async play({ version, host, guest }) {
      const roomId = await createRoom(host, version);
      for (let index = 0; index < HISTORY; index++) {
        if (index % 9 === 0) await host.client.ok('PUT', inRoom(roomId, '/state/m.room.topic'), { topic: `${index}` });
        await say(host, roomId, `before ${index}`);
      }
      await join(guest, roomId, host);
      await untilEvent(guest, roomId, await say(host, roomId, 'welcome'));
      assert.deepEqual(await listEvents(guest, roomId), await listEvents(host, roomId));
      return [roomId];
    },
  },
];

/** A room for those who are in another one: the guest is let in by the host's server. */
async function playRestricted({ version, host, guest }: Cast, rule: string) {
  const space = await createRoom(host, version);
  const allow = [{ type: 'm.room_membership', room_id: space }];
  const roomId = await createRoom(host, version, { joinRules: { join_rule: rule, allow } });
  assert.equal(await tryJoin(guest, roomId, host), 403);
  await join(guest, space, host);
  await join(guest, roomId, host);
  const path = inRoom(roomId, `/state/m.room.member/${guest.userId}?format=event`);
  const member = await host.client.ok('GET', path);
  assert.equal(at(member, 'content', 'join_authorised_via_users_server'), host.userId);
  const signers = await listSigners(interop, textAt(member, 'event_id'));
  assert.deepEqual(new Set(signers), new Set([host.serverName, guest.serverName]));
  return { space, roomId };
}

for (const { name, isIn = () => true, play } of SCENARIOS) {
  for (const version of [...ROOM_VERSIONS.values()].filter(isIn)) {
    for (const where of ['ours', 'Synapse'] as const) {
      test(`version ${version.id}, hosted by ${where}: ${name}`, { skip: SKIPPED }, async () => {
        const { alice, bob, carol, dave } = interop;
        const [host, guest, stranger] = where === 'ours' ? [alice, bob, dave] : [bob, alice, carol];
        for (const roomId of await play({ host, guest, stranger, version: version.id })) {
          await talk(host, guest, roomId);
          shared.push({ roomId, host, guest });
        }
      });
    }
  }
}

test('both have the same state of every room that they share, also after a restart', { skip: SKIPPED }, async () => {
  const { ours, synapse } = interop;
  for (const { roomId, host, guest } of shared) await untilSameState(host, guest, roomId);
  await ours.stop();
  await synapse.restart();
  await ours.start();
  for (const { roomId, host, guest } of shared) await untilSameState(host, guest, roomId);
  for (const { roomId, host, guest } of shared.slice(-4)) await talk(guest, host, roomId);
});
