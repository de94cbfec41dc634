/**
 * Members that a room's state lacks while it is partial, taken from the auth events of an event: those in whose name it was
 * made. They become part of the state before it, so that everything which reads the room knows who its senders are; once
 * the whole state is known it takes their place (docs/adr/0019-partial-rooms.md).
 *
 * Invariant: what the state does say of a user stands.
 */
import type { StateView } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import { redactEvent } from '../storage/events.ts';
import type { KnownEvent } from '../storage/received-events.ts';
import { toEntry } from './place-event.ts';
import { referenceHashOf } from './reference-hash.ts';
import type { StateEntry } from './room-snapshot.ts';

/** The members among the auth events that the state has nothing about. */
export function citedMembers(
  version: RoomVersion,
  view: StateView,
  authEvents: readonly KnownEvent[],
): readonly StateEntry[] {
  return authEvents.flatMap((known) => {
    const { type, stateKey } = known.event;
    if (type !== 'm.room.member' || stateKey === undefined || known.rejection !== undefined) return [];
    return view.get(type, stateKey) === undefined ? (knownEntry(version, known) ?? []) : [];
  });
}

/** A stored state event as an entry of a state. */
export function knownEntry(
  version: RoomVersion,
  { nid, event, isRedacted }: Pick<KnownEvent, 'nid' | 'event' | 'isRedacted'>,
): StateEntry | undefined {
  const known = isRedacted ? redactEvent(event, version) : event;
  return toEntry({ nid, event: known, referenceHash: referenceHashOf(event, version) });
}

/** The view with the entries in it. */
export function withEntries(view: StateView, entries: readonly StateEntry[]): StateView {
  if (entries.length === 0) return view;
  const byKey = new Map(entries.map((entry) => [stateKeyOf(entry.type, entry.stateKey), entry]));
  return { get: (type, stateKey) => byKey.get(stateKeyOf(type, stateKey)) ?? view.get(type, stateKey) };
}
