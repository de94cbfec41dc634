/**
 * Received events of one room, ancestors first, placed one after another, each in a turn of its own: so that what our users
 * send comes between them, and each is judged with what those before it became. Their commits are waited for together.
 */
import type { EventId } from '../protocol/ids.ts';
import type { PolicyServer } from '../protocol/policy-server.ts';
import type { Outcome, Placed, PlacingParts } from './arrival.ts';
import type { ReceivedEvent } from './parse-received.ts';
import { placeReceived } from './place-received.ts';
import type { Policing } from './policing.ts';
import type { ReceivedBatch } from './received-batch.ts';
import type { RoomSnapshot } from './room-snapshot.ts';

export interface PlacingBatchParts extends PlacingParts {
  readonly policing: Policing;
  /** Whether a user of ours is in the room. */
  readonly isInhabited: (snapshot: RoomSnapshot) => boolean;
}

export interface SortedBatch {
  readonly sorted: readonly ReceivedEvent[];
  /** The policy server that was asked about them. */
  readonly policy: PolicyServer | undefined;
}

export const NOBODY_HERE = { outcome: 'dropped', reason: 'no user of this server is in the room' } as const;

export async function placeBatch(
  parts: PlacingBatchParts,
  batch: ReceivedBatch,
  { sorted, policy }: SortedBatch,
): Promise<ReadonlyMap<EventId, Outcome>> {
  const outcomes = new Map<EventId, Outcome>();
  for (const received of sorted) {
    const placed = await placeOne(parts, batch, { received, policy });
    if (placed === undefined) continue;
    outcomes.set(received.event.eventId, placed.result);
    batch.committed = Promise.all([batch.committed, placed.committed]);
    // Heard below; until then it must not count as unhandled.
    batch.committed.catch(() => undefined);
  }
  await batch.committed;
  return outcomes;
}

interface Asked {
  readonly received: ReceivedEvent;
  readonly policy: PolicyServer | undefined;
}

/**
 * An earlier event may have given the room another policy server than the one that was asked: then this one is asked first,
 * outside the turn. Once, since whoever changes it with every event would keep us asking.
 */
async function placeOne(parts: PlacingBatchParts, batch: ReceivedBatch, asked: Asked): Promise<Placed | undefined> {
  const other = await tryToPlace(parts, batch, asked);
  if (other === undefined || 'result' in other) return other;
  const [received = asked.received] = await parts.policing.complete([asked.received], batch.version, other);
  const { writing, isInhabited } = parts;
  return writing.turn(batch.roomId, async (turn): Promise<Placed> => {
    if (!isInhabited(turn.head)) return { result: NOBODY_HERE, committed: Promise.resolve() };
    return placeReceived(parts, { turn, batch, received });
  });
}

async function tryToPlace(
  parts: PlacingBatchParts,
  batch: ReceivedBatch,
  { received, policy }: Asked,
): Promise<Placed | PolicyServer | undefined> {
  return parts.writing.turn(batch.roomId, async (turn): Promise<Placed | PolicyServer> => {
    if (!parts.isInhabited(turn.head)) return { result: NOBODY_HERE, committed: Promise.resolve() };
    const now = parts.policing.serverOf(turn.head);
    if (now !== undefined && !isSame(now, policy)) return now;
    return placeReceived(parts, { turn, batch, received });
  });
}

function isSame(one: PolicyServer, other: PolicyServer | undefined): boolean {
  return one.serverName === other?.serverName && one.publicKey === other.publicKey;
}
