/**
 * What a user is to be told by push: notifications of events in rooms, and invites to rooms that this server is not in.
 */
import type { UserId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import type { Transaction } from '../storage/database.ts';
import { listNewNotifications } from '../storage/notifications.ts';
import { listNotifyingInvites } from '../storage/outside-memberships.ts';
import { createOutsideRoom, readOutsideEvent } from './outside-room.ts';
import type { PushRoomState } from './types.ts';

export interface Pushable {
  readonly position: number;
  readonly event: Event;
  readonly tweaks: string | undefined;
  readonly isRead: boolean;
  /** Where all that is known of the room came with the event. */
  readonly room: PushRoomState | undefined;
}

export interface PushablesWanted {
  readonly userId: UserId;
  /** Exclusive. */
  readonly after: number;
  readonly limit: number;
}

/** Oldest first. */
export async function loadPushables(tx: Transaction, wanted: PushablesWanted): Promise<readonly Pushable[]> {
  const [notifications, invites] = await Promise.all([
    listNewNotifications(tx, wanted),
    listNotifyingInvites(tx, wanted),
  ]);
  const pushables = [
    ...notifications.map(({ event, ...notified }): Pushable => ({ ...notified, event: event.event, room: undefined })),
    ...invites.map((invite): Pushable => {
      const { position, tweaks } = invite;
      return { position, tweaks, event: readOutsideEvent(invite), isRead: false, room: createOutsideRoom(invite) };
    }),
  ];
  return pushables.sort((a, b) => a.position - b.position).slice(0, wanted.limit);
}
