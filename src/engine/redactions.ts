/**
 * Which redactions take effect, and what they leave of current state.
 *
 * https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
 */
import { serverNameOf } from '../protocol/ids.ts';
import type { Event, StateView } from '../protocol/pdu.ts';
import { canRedact } from '../protocol/power-levels.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { redactEvent, type StoredEvent } from '../storage/events.ts';
import type { RoomSnapshot } from './room-snapshot.ts';

type Target = Pick<StoredEvent, 'nid' | 'event' | 'redactedBecause'>;

/**
 * The event that a redaction takes effect on: one of this room, redacted by who may redact in the state before the
 * redaction, or by a user of its sender's server.
 */
export function appliedRedaction<Found extends Target>(
  redaction: Event,
  target: Found,
  state: StateView & { readonly version: RoomVersion },
): Found | undefined {
  if (redaction.type !== 'm.room.redaction' || redaction.redacts !== target.event.eventId) return undefined;
  if (target.redactedBecause !== undefined || redaction.roomId !== target.event.roomId) return undefined;
  const isSameServer = serverNameOf(redaction.sender) === serverNameOf(target.event.sender);
  return isSameServer || canRedact(state, redaction.sender, state.version) ? target : undefined;
}

/** The snapshot in which a redacted event that is current has lost its content. */
export function withoutRedacted(snapshot: RoomSnapshot, target: Pick<StoredEvent, 'nid' | 'event'>): RoomSnapshot {
  const { stateKey, type } = target.event;
  const entry = stateKey === undefined ? undefined : snapshot.get(type, stateKey);
  if (entry?.nid !== target.nid) return snapshot;
  return snapshot.withState({ ...entry, content: redactEvent(target.event, snapshot.version).content });
}
