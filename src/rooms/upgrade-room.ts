/**
 * Upgrades rooms: the replacement with its aliases and its place in the directory is one commit, the end of the old room
 * the next.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
 */
import { joinedMembers } from '../engine/room-snapshot.ts';
import type { EventTemplate, RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { loadPublished, moveAliases, setPublished } from '../storage/room-directory.ts';
import { type Actor, notInRoom, requireNotSuspended } from './actor.ts';
import type { LoadProfile } from './profile.ts';
import { closeOldRoom, MAX_EVENTS_PER_COMMIT, mayUpgrade, planUpgrade, type UpgradeRequest } from './upgrade-plan.ts';

export interface RoomUpgraderOptions {
  readonly engine: Pick<RoomEngine, 'createRoom' | 'send' | 'loadSnapshot' | 'loadWhole'>;
  readonly database: Database;
  readonly serverName: ServerName;
  readonly loadProfile: LoadProfile;
  /** Carries over what local users set for the old room, such as their push rules. */
  readonly copyPersonalSettings: (move: { from: RoomId; to: RoomId; userIds: readonly UserId[] }) => Promise<void>;
}

/** Answers with the id of the room that replaces the old one. */
export type UpgradeRoom = (actor: Actor, roomId: RoomId, request: Omit<UpgradeRequest, 'userId'>) => Promise<RoomId>;

export function createRoomUpgrader(options: RoomUpgraderOptions): UpgradeRoom {
  const { engine, database } = options;
  return async (actor, roomId, request) => {
    requireNotSuspended(actor);
    const { userId } = actor;
    const known = await engine.loadSnapshot(roomId);
    if (known?.membershipOf(userId) !== 'join') throw notInRoom();
    // Bans are carried over, so all have to be known.
    const old = known.isPartial ? await engine.loadWhole(roomId) : known;
    if (old?.membershipOf(userId) !== 'join') throw notInRoom();
    if (!mayUpgrade(old, userId)) throw new MatrixError('M_FORBIDDEN', 'You may not upgrade this room');
    const member = await options.loadProfile(userId);
    const plan = planUpgrade(old, { ...request, userId }, member);
    const isPublic = (await loadPublished(database, roomId)) ?? false;
    const { roomId: to } = await engine.createRoom({
      version: request.version,
      creator: userId,
      creationContent: plan.creationContent,
      events: () => plan.events,
      isPublic,
      also: (tx, newRoomId) =>
        Promise.all([moveAliases(tx, { from: roomId, to: newRoomId }), setPublished(tx, roomId, false)]),
    });
    await engine.send({ roomId, decide: (snapshot) => closeOldRoom(snapshot, userId, to) });
    await sendInParts(engine, to, plan.later);
    const userIds = [...joinedMembers(old)].filter((member) => serverNameOf(member) === options.serverName);
    await options.copyPersonalSettings({ from: roomId, to, userIds });
    return to;
  };
}

async function sendInParts(
  engine: Pick<RoomEngine, 'send'>,
  roomId: RoomId,
  templates: readonly EventTemplate[],
): Promise<void> {
  for (let from = 0; from < templates.length; from += MAX_EVENTS_PER_COMMIT) {
    const part = templates.slice(from, from + MAX_EVENTS_PER_COMMIT);
    await engine.send({ roomId, decide: () => part });
  }
}
