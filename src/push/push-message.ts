/**
 * What a push gateway is told of a notification.
 *
 * https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
 */
import type { JsonObject } from '../protocol/pdu.ts';
import type { Pusher } from '../storage/pushers.ts';
import { readTweaks } from './actions.ts';
import type { Pushable } from './pushables.ts';
import type { PushRoomState } from './types.ts';

export interface PushSubjectMatter {
  readonly notified: Pick<Pushable, 'event' | 'tweaks'>;
  readonly room: PushRoomState;
  /** Of all rooms together. */
  readonly unread: number;
}

export function createPushMessage(pusher: Pusher, { notified, room, unread }: PushSubjectMatter): JsonObject {
  const { event } = notified;
  const tweaks = readTweaks(notified.tweaks);
  const { url: _, ...data } = pusher.data;
  const isShort = data['format'] === 'event_id_only';
  const device = { app_id: pusher.appId, pushkey: pusher.pushkey, data, ...(!isShort && { tweaks }) };
  const isUrgent = tweaks['highlight'] === true || tweaks['sound'] !== undefined;
  const common = {
    event_id: event.eventId,
    room_id: event.roomId,
    prio: isUrgent ? 'high' : 'low',
    // Counts of zero are left out.
    counts: unread > 0 ? { unread } : {},
    devices: [device],
  };
  if (isShort) return common;
  const senderName = textIn(room, 'm.room.member', event.sender, 'displayname');
  const roomName = textIn(room, 'm.room.name', '', 'name');
  const roomAlias = textIn(room, 'm.room.canonical_alias', '', 'alias');
  return {
    ...common,
    type: event.type,
    sender: event.sender,
    content: event.content,
    ...(senderName !== undefined && { sender_display_name: senderName }),
    ...(roomName !== undefined && { room_name: roomName }),
    ...(roomAlias !== undefined && { room_alias: roomAlias }),
    ...(event.stateKey !== undefined &&
      event.type === 'm.room.member' && { user_is_target: event.stateKey === pusher.userId }),
  };
}

function textIn(room: PushRoomState, type: string, stateKey: string, field: string): string | undefined {
  const value = room.get(type, stateKey)?.content[field];
  return typeof value === 'string' && value !== '' ? value : undefined;
}
