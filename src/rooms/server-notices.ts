/**
 * Server notices: what the server has to tell a user, in a room of its own that it invites the user to. The invite cannot
 * be rejected; who has joined may leave, and is invited to the same room for the next notice.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#server-notices
 */
import type { RoomEngine } from '../engine/types.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { loadNoticeRoom, saveNoticeRoom } from '../storage/server-notices.ts';
import type { Actor } from './actor.ts';
import type { Rooms } from './rooms.ts';

/** The localpart of the user whom notices come from; nobody can have it. */
export const NOTICES_LOCALPART = '_server';

export interface ServerNoticesOptions {
  readonly rooms: Pick<Rooms, 'create' | 'memberships' | 'sender' | 'defaultVersion'>;
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly serverName: ServerName;
  /** Marks the room as one of server notices for the user's clients. */
  tagRoom(userId: UserId, roomId: RoomId): Promise<void>;
}

export interface ServerNotice {
  readonly userId: UserId;
  readonly type: string;
  readonly content: JsonObject;
  /** The same id gives the event of the first request. */
  readonly txnId: string;
}

export interface ServerNotices {
  send(notice: ServerNotice): Promise<EventId>;
  /** Throws where the user would reject the invite to their room. */
  checkMayLeave(userId: UserId, roomId: RoomId): Promise<void>;
}

export function createServerNotices(options: ServerNoticesOptions): ServerNotices {
  const { rooms, engine, database, serverName } = options;
  const sender: Actor = {
    userId: `@${NOTICES_LOCALPART}:${serverName}` as UserId,
    deviceId: 'notices',
    isGuest: false,
    isSuspended: false,
  };
  // Two notices at the same time must not make two rooms.
  const queue = new KeyedQueue<UserId>();

  const createRoom = async (userId: UserId): Promise<RoomId> => {
    const roomId = await rooms.create(sender, {
      version: rooms.defaultVersion,
      preset: 'private_chat',
      creationContent: { 'm.federate': false },
      // Only the server speaks here.
      powerLevelOverride: { events_default: 50, users_default: 0 },
      initialState: [],
      name: 'Server notices',
      invites: [userId],
      isDirect: false,
      isPublished: false,
    });
    await saveNoticeRoom(database, userId, roomId);
    await options.tagRoom(userId, roomId);
    return roomId;
  };
  const prepareRoom = async (userId: UserId): Promise<RoomId> => {
    const known = await loadNoticeRoom(database, userId);
    const snapshot = known === undefined ? undefined : await engine.loadSnapshot(known);
    if (known === undefined || snapshot === undefined) return createRoom(userId);
    const membership = snapshot.membershipOf(userId);
    if (membership !== 'join' && membership !== 'invite') {
      await rooms.memberships.invite(sender, { roomId: known, target: userId, content: {} });
    }
    return known;
  };

  return {
    send: ({ userId, type, content, txnId }) =>
      queue.run(userId, async () => {
        const roomId = await prepareRoom(userId);
        return rooms.sender.send(sender, { roomId, type, content, txnId });
      }),
    async checkMayLeave(userId, roomId) {
      if ((await engine.loadSnapshot(roomId))?.membershipOf(userId) !== 'invite') return;
      if ((await loadNoticeRoom(database, userId)) !== roomId) return;
      throw new MatrixError('M_CANNOT_LEAVE_SERVER_NOTICE_ROOM', 'The invite to server notices cannot be rejected');
    },
  };
}

/** Rooms as clients have them, who cannot reject the invite to their notices. */
export function withServerNotices(rooms: Rooms, notices: Pick<ServerNotices, 'checkMayLeave'>): Rooms {
  return {
    ...rooms,
    memberships: {
      ...rooms.memberships,
      async leave(actor, request) {
        await notices.checkMayLeave(actor.userId, request.roomId);
        return rooms.memberships.leave(actor, request);
      },
    },
    async setState(actor, request) {
      const isLeaving = request.content['membership'] === 'leave' && request.stateKey === actor.userId;
      if (isLeaving && request.type === 'm.room.member') await notices.checkMayLeave(actor.userId, request.roomId);
      return rooms.setState(actor, request);
    },
  };
}
