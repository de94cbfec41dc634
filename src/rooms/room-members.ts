/**
 * A room's members, now or at an earlier moment.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers
 */
import type { Membership, StateEntry } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { listRoomsOfUser } from '../storage/memberships.ts';
import { notInRoom } from './actor.ts';
import type { ReadableRoom, RoomAccess } from './room-access.ts';

export interface MembersRequest {
  /** The position that a token names; the present without it. */
  readonly at?: number | undefined;
  readonly membership?: Membership | undefined;
  readonly notMembership?: Membership | undefined;
}

export interface RoomMembers {
  loadMembers(userId: UserId, roomId: RoomId, request: MembersRequest): Promise<readonly StateEntry[]>;
  /** Only for users who are joined themselves. */
  loadJoined(userId: UserId, roomId: RoomId): Promise<readonly StateEntry[]>;
  listJoinedRooms(userId: UserId): Promise<readonly RoomId[]>;
}

export interface RoomMembersOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadWhole' | 'loadTimeline' | 'loadStateAt'>;
  readonly access: RoomAccess;
  readonly database: Transaction;
}

export function createRoomMembers({ engine, access, database }: RoomMembersOptions): RoomMembers {
  return {
    async loadMembers(userId, roomId, request) {
      const room = await access.loadWhole(userId, roomId);
      const members = await loadMembersOf(engine, access, { room, at: request.at });
      return members.filter(({ content }) => isWanted(content['membership'], request));
    },

    async loadJoined(userId, roomId) {
      const joined = await engine.loadSnapshot(roomId);
      if (joined?.membershipOf(userId) !== 'join') throw notInRoom();
      const snapshot = joined.isPartial ? await engine.loadWhole(roomId) : joined;
      if (snapshot?.membershipOf(userId) !== 'join') throw notInRoom();
      return [...snapshot.members()].filter(({ content }) => content['membership'] === 'join');
    },

    listJoinedRooms: (userId) => listRoomsOfUser(database, userId, ['join']),
  };
}

/** Given both, either is enough. */
function isWanted(membership: unknown, { membership: wanted, notMembership: unwanted }: MembersRequest): boolean {
  if (wanted === undefined && unwanted === undefined) return true;
  return membership === wanted || (unwanted !== undefined && membership !== unwanted);
}

interface Moment {
  readonly room: ReadableRoom;
  readonly at: number | undefined;
}

async function loadMembersOf(
  engine: RoomMembersOptions['engine'],
  access: RoomAccess,
  { room, at }: Moment,
): Promise<readonly StateEntry[]> {
  const { snapshot, until } = room;
  if (at === undefined && until === undefined) return [...snapshot.members()];
  const isEarlier = at !== undefined && (until === undefined || at < until.position);
  const stateNid = isEarlier ? await loadStateNidAt(engine, room, at) : until?.stateNid;
  if (stateNid === undefined) return [];
  const state = await (isEarlier ? engine.loadStateAt(snapshot.roomId, stateNid) : access.loadState(room));
  return state.filter(({ type }) => type === 'm.room.member');
}

/** Up to the creator's join there are no members: a token from before stands for this beginning. */
const EVENTS_UNTIL_FIRST_JOIN = 2;

/** What state resolution changes stands behind the event that made it do so, and rarely is much. */
const EVENTS_LOOKED_AT = 20;

async function loadStateNidAt(
  engine: Pick<RoomEngine, 'loadTimeline'>,
  { snapshot: { roomId, version } }: ReadableRoom,
  at: number,
): Promise<number | undefined> {
  const upTo = { roomId, version, after: 0, before: at + 1, limit: EVENTS_LOOKED_AT, direction: 'backward' as const };
  const newest = (await engine.loadTimeline(upTo)).find(({ isStateChange }) => isStateChange !== true);
  if (newest !== undefined) return newest.stateAfter ?? undefined;
  const beginning = { roomId, version, after: at, before: Number.MAX_SAFE_INTEGER, limit: EVENTS_UNTIL_FIRST_JOIN };
  const first = await engine.loadTimeline({ ...beginning, direction: 'forward' });
  return first.at(-1)?.stateAfter ?? undefined;
}
