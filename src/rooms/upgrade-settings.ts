/**
 * What users set for a room goes with them to the room that replaces it, also where no `/upgrade` made it: when a
 * tombstone closes the old room, and when somebody from there joins the new one. Both rooms have to name each other, so
 * that nobody can make a successor of a room that is not theirs.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 */
import { joinedMembers, type RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { parseRoomId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { Memberships } from './membership.ts';
import type { SetState } from './set-state.ts';
import type { RoomUpgraderOptions } from './upgrade-room.ts';

export interface UpgradeSettingsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly serverName: ServerName;
  readonly copyPersonalSettings: RoomUpgraderOptions['copyPersonalSettings'];
}

/** Setting state, after which a tombstone takes along the settings of everybody in the room. */
export function withTombstones(setState: SetState, options: UpgradeSettingsOptions): SetState {
  const { engine, serverName, copyPersonalSettings } = options;
  return async (actor, request) => {
    const eventId = await setState(actor, request);
    const { roomId: from, type, stateKey } = request;
    if (type !== 'm.room.tombstone' || stateKey !== '') return eventId;
    const old = await engine.loadSnapshot(from);
    const to = old === undefined ? undefined : replacementOf(old);
    const isMutual = to !== undefined && predecessorOf(await engine.loadSnapshot(to)) === from;
    if (old !== undefined && isMutual) {
      const userIds = [...joinedMembers(old)].filter((member) => serverNameOf(member) === serverName);
      await copyPersonalSettings({ from, to, userIds });
    }
    return eventId;
  };
}

/** Joining, after which a room that goes on here brings along what its user set for it. */
export function withPredecessors(memberships: Memberships, options: UpgradeSettingsOptions): Memberships {
  const { engine, copyPersonalSettings } = options;
  return {
    ...memberships,
    async join(actor, request) {
      const { roomId: to } = request;
      const { userId } = actor;
      const before = (await engine.loadSnapshot(to))?.membershipOf(userId);
      const joined = await memberships.join(actor, request);
      // Who was here before may have changed the settings since.
      if (before === 'join' || before === 'leave') return joined;
      const from = await findPredecessor(engine, { userId, to });
      if (from !== undefined) await copyPersonalSettings({ from, to, userIds: [userId] });
      return joined;
    },
  };
}

async function findPredecessor(
  engine: UpgradeSettingsOptions['engine'],
  { userId, to }: { readonly userId: UserId; readonly to: RoomId },
): Promise<RoomId | undefined> {
  const from = predecessorOf(await engine.loadSnapshot(to));
  const old = from === undefined ? undefined : await engine.loadSnapshot(from);
  return old?.membershipOf(userId) !== undefined && replacementOf(old) === to ? from : undefined;
}

function predecessorOf(room: RoomSnapshot | undefined): RoomId | undefined {
  const predecessor = room?.get('m.room.create', '')?.content['predecessor'];
  const roomId = isJsonObject(predecessor) ? predecessor['room_id'] : undefined;
  return typeof roomId === 'string' ? parseRoomId(roomId) : undefined;
}

function replacementOf(room: RoomSnapshot): RoomId | undefined {
  const roomId = room.get('m.room.tombstone', '')?.content['replacement_room'];
  return typeof roomId === 'string' ? parseRoomId(roomId) : undefined;
}
