/**
 * Which membership events a device has been sent, so that lazy loading does not send them over and over. What went out
 * with an answer counts only when the client comes back with that answer's token: one that was lost on the way is made
 * again whole.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
 */
import { Lru } from '../lib/lru.ts';
import type { RoomId } from '../protocol/ids.ts';

/** Membership events remembered over all devices, each about 150 bytes. A device that falls out is sent them again. */
const MAX_REMEMBERED = 200_000;

export interface LazyMembers {
  /** Starts an answer for a device that came with this token. */
  open(device: { readonly userId: string; readonly deviceId: string }, since: string | undefined): LazySession;
}

export interface LazySession {
  /** Whether the device has this event as the user's membership. */
  has(roomId: RoomId, userId: string, eventId: string): boolean;
  /** The answer carries it. */
  add(roomId: RoomId, userId: string, eventId: string): void;
  /** The answer is on its way, with this token. */
  close(nextBatch: string): void;
}

type Sent = Map<string, string>;

interface Memory {
  /** Event ids by room and user. */
  readonly confirmed: Sent;
  readonly pending: { readonly nextBatch: string; readonly sent: Sent } | undefined;
}

export function createLazyMembers(maxRemembered = MAX_REMEMBERED): LazyMembers {
  const memories = new Lru<string, Memory>({
    maxCost: maxRemembered,
    costOf: ({ confirmed, pending }) => 1 + confirmed.size + (pending?.sent.size ?? 0),
  });
  return {
    open({ userId, deviceId }, since) {
      const device = JSON.stringify([userId, deviceId]);
      const confirmed = since === undefined ? new Map<string, string>() : confirm(memories.get(device), since);
      const sent: Sent = new Map();
      return {
        has: (roomId, member, eventId) =>
          (sent.get(keyOf(roomId, member)) ?? confirmed.get(keyOf(roomId, member))) === eventId,
        add(roomId, member, eventId) {
          sent.set(keyOf(roomId, member), eventId);
        },
        close(nextBatch) {
          memories.set(device, { confirmed, pending: { nextBatch, sent } });
        },
      };
    },
  };
}

function confirm(memory: Memory | undefined, since: string): Sent {
  if (memory === undefined) return new Map();
  const { confirmed, pending } = memory;
  if (pending?.nextBatch === since) for (const [key, eventId] of pending.sent) confirmed.set(key, eventId);
  return confirmed;
}

function keyOf(roomId: RoomId, userId: string): string {
  return `${roomId} ${userId}`;
}
