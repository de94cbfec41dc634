/**
 * What happened to a user since a token: from memory where it reaches back so far and every room concerned is warm, else
 * from the database in a fixed number of statements.
 *
 * Invariant: the position that comes with the changes is of the same instant as they are; what is committed later is left
 * to the next sync, whole.
 */

import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import { type AccountDataRow, listAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import { listOutsideOfUser, type PlacedOutside } from '../storage/outside-memberships.ts';
import { listReceiptsOfJoined, type ReceiptRow } from '../storage/receipts.ts';
import { listDeletedRooms } from '../storage/room-deletion.ts';
import { listChangedRooms, listUserRooms, type UserRoom } from '../storage/sync-queries.ts';
import { withNewest } from './outside-rooms.ts';
import type { MemberChange, RecentChange, RecentChanges } from './recent-changes.ts';
import type { RoomChange, SyncChanges } from './types.ts';

export interface ChangesOptions {
  readonly database: Transaction;
  readonly engine: Pick<RoomEngine, 'getSnapshot'>;
  readonly recent: RecentChanges;
  readonly writerId: number;
}

export interface ChangesWanted {
  readonly userId: UserId;
  readonly after: number;
  /** Every joined room, changed or not. */
  readonly allJoined: boolean;
}

/** What changed, if memory knows it: synchronous, so that it fits the snapshots of the same instant. */
export function getChanges(options: ChangesOptions, wanted: ChangesWanted): SyncChanges | undefined {
  const { recent } = options;
  const changes = wanted.allJoined ? undefined : recent.since(wanted.after);
  if (changes === undefined) return undefined;
  const rooms = changedRooms(options, changes, wanted.userId);
  const receipts = changedReceipts(options, changes, wanted.userId);
  if (rooms === undefined || receipts === undefined) return undefined;
  return withNewest({
    position: Math.max(recent.position, wanted.after),
    rooms,
    receipts,
    accountData: changedAccountData(changes, wanted.userId),
    deletedRooms: [],
    outside: changedOutside(changes, wanted.userId),
  });
}

export async function loadChanges(options: ChangesOptions, wanted: ChangesWanted): Promise<SyncChanges> {
  const { database, recent, writerId } = options;
  const { userId, after, allJoined } = wanted;
  const { position, rooms } = allJoined
    ? await listUserRooms(database, { userId, writerId })
    : await listChangedRooms(database, { userId, writerId, after });
  await recent.reach(position);
  const range = { after, upTo: position };
  const [receipts, accountData, deleted, outside] = await Promise.all([
    after === 0 ? [] : listReceiptsOfJoined(database, { userId, ...range }),
    listAccountData(database, userId, range),
    after === 0 ? [] : listDeletedRooms(database, userId, range),
    listOutsideOfUser(database, userId, range),
  ]);
  // A room may have come back from another server since.
  const present = new Set(rooms.map(({ roomId }) => roomId));
  return withNewest({
    position,
    rooms: rooms.map((room) => toRoomChange(room, after)),
    receipts,
    accountData,
    deletedRooms: deleted.filter((roomId) => !present.has(roomId)),
    outside,
  });
}

function toRoomChange({ roomId, membership, membershipPosition, earlier }: UserRoom, after: number): RoomChange {
  const isNew = membershipPosition > after;
  return {
    roomId,
    membership,
    membershipPosition: isNew ? membershipPosition : undefined,
    earlier: isNew ? earlier : membership,
  };
}

function changedRooms(
  { engine }: ChangesOptions,
  changes: readonly RecentChange[],
  userId: UserId,
): readonly RoomChange[] | undefined {
  const own = new Map<RoomId, { readonly member: MemberChange; readonly position: number }[]>();
  for (const change of changes) {
    if (change.kind !== 'event') continue;
    const ofRoom = own.get(change.roomId) ?? [];
    if (change.member?.userId === userId) ofRoom.push({ member: change.member, position: change.position });
    own.set(change.roomId, ofRoom);
  }
  const rooms: RoomChange[] = [];
  for (const [roomId, memberships] of own) {
    const snapshot = engine.getSnapshot(roomId);
    if (snapshot === undefined) return undefined;
    const change = roomChange({ roomId, snapshot, userId, memberships });
    if (change !== undefined) rooms.push(change);
  }
  return rooms;
}

interface OwnChanges {
  readonly roomId: RoomId;
  readonly snapshot: RoomSnapshot;
  readonly userId: UserId;
  readonly memberships: readonly { readonly member: MemberChange; readonly position: number }[];
}

function roomChange({ roomId, snapshot, userId, memberships }: OwnChanges): RoomChange | undefined {
  const membership = snapshot.membershipOf(userId);
  const first = memberships[0];
  const last = memberships.at(-1);
  if (membership === undefined || (last === undefined && membership !== 'join')) return undefined;
  return {
    roomId,
    membership,
    membershipPosition: last?.position,
    earlier: first === undefined ? membership : first.member.earlier,
  };
}

function changedReceipts(
  { engine }: ChangesOptions,
  changes: readonly RecentChange[],
  userId: UserId,
): readonly ReceiptRow[] | undefined {
  const receipts: ReceiptRow[] = [];
  for (const change of changes) {
    if (change.kind !== 'receipt') continue;
    const { row } = change;
    if (row.type === 'm.read.private' && row.userId !== userId) continue;
    const snapshot = engine.getSnapshot(row.roomId);
    if (snapshot === undefined) return undefined;
    if (snapshot.membershipOf(userId) === 'join') receipts.push(row);
  }
  return receipts;
}

/** The newest of each room. */
function changedOutside(changes: readonly RecentChange[], userId: UserId): readonly PlacedOutside[] {
  const own = changes.filter((change) => change.kind === 'outside').filter(({ row }) => row.userId === userId);
  return [...new Map(own.map(({ row, position }) => [row.roomId, { ...row, position }])).values()];
}

/** The newest of each type and room. */
function changedAccountData(changes: readonly RecentChange[], userId: UserId): readonly AccountDataRow[] {
  const rows = new Map<string, AccountDataRow>();
  for (const change of changes) {
    if (change.kind !== 'account_data' || change.row.userId !== userId) continue;
    const key = JSON.stringify([change.row.roomId ?? '', change.row.type]);
    rows.delete(key);
    rows.set(key, change.row);
  }
  return [...rows.values()];
}
