/**
 * The words that the parts of a sync share.
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { JudgeInviter } from '../protocol/invite-permission.ts';
import type { PresenceState } from '../protocol/presence.ts';
import type { AccountDataRow } from '../storage/account-data.ts';
import type { PlacedOutside } from '../storage/outside-memberships.ts';
import type { ReceiptRow } from '../storage/receipts.ts';
import type { SyncToken } from '../streams/sync-token.ts';
import type { CompiledFilter } from './compiled-filter.ts';

/** `unstable`: by the name that it had before the spec took it (MSC4222). */
export type UseStateAfter = boolean | 'unstable';

export interface SyncRequest {
  readonly userId: UserId;
  readonly deviceId: string;
  /** Undefined for an initial sync. */
  readonly since: string | undefined;
  /** A filter's id, or its JSON. */
  readonly filter: string | undefined;
  readonly fullState: boolean;
  readonly useStateAfter: UseStateAfter;
  /** What syncing says of the user; `offline`: nothing. */
  readonly setPresence: PresenceState;
  /** Milliseconds to wait for something to happen. */
  readonly timeout: number;
  /** Aborted when the client is gone or the server stops. */
  readonly signal: AbortSignal;
}

/** What one attempt at an answer is made for. */
export interface SyncContext {
  readonly userId: UserId;
  readonly deviceId: string;
  readonly since: SyncToken | undefined;
  /** The position of `since`, 0 for an initial sync. */
  readonly after: number;
  readonly filter: CompiledFilter;
  readonly fullState: boolean;
  readonly useStateAfter: UseStateAfter;
  /** Users whose messages the reader does not want to see. */
  readonly ignored: ReadonlySet<string>;
  /** Whose invites the reader does not want to hear of. */
  readonly judgeInviter: JudgeInviter;
  /** Wall clock. */
  readonly now: number;
}

/** Where an invite was made all the same, or before its user thought so. */
export function hidesInvitesOf({ ignored, judgeInviter }: SyncContext, inviter: UserId): boolean {
  return ignored.has(inviter) || judgeInviter(inviter) === 'ignore';
}

/** Unread notifications, of a room or of one of its threads. */
export interface UnreadCount {
  readonly notifications: number;
  readonly highlights: number;
}

/** What a sync asks about unread notifications. */
export interface UnreadReader {
  /**
   * The counts of a user at a position, per room and thread (`main` or its root), where something is unread; undefined
   * where they are not to be had in time.
   */
  count(
    userId: UserId,
    roomIds: readonly RoomId[],
    upTo: number,
  ): Promise<ReadonlyMap<RoomId, ReadonlyMap<string, UnreadCount>> | undefined>;
}

/** A room in which something happened for the user. */
export interface RoomChange {
  readonly roomId: RoomId;
  readonly membership: string;
  /** Where the user's membership event stands, where it is after the token. */
  readonly membershipPosition: number | undefined;
  /** What the user's membership was at the token; undefined for none. */
  readonly earlier: string | undefined;
}

export interface SyncChanges {
  /** Everything up to here is in the answer. */
  readonly position: number;
  readonly rooms: readonly RoomChange[];
  readonly receipts: readonly ReceiptRow[];
  readonly accountData: readonly AccountDataRow[];
  /** Rooms that the user was in and that are no more. */
  readonly deletedRooms: readonly RoomId[];
  /** Memberships in rooms that this server is not in. */
  readonly outside: readonly PlacedOutside[];
}
