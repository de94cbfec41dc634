/**
 * Read receipts and the fully read marker. Only members send them, only for events of their room, and never backwards:
 * what points to an earlier event than the receipt that is there changes nothing.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#receipts
 */
import type { Clock } from '../lib/clock.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { MatrixError } from '../protocol/errors.ts';
import { MAX_ID_BYTES, type RoomId, type UserId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { MAX_RELATION_HOPS, nextInChain, threadOf } from '../protocol/threads.ts';
import { accountDataStream, loadAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import { loadReceiptPosition, type ReceiptType, receiptStream } from '../storage/receipts.ts';
import type { Committer, CommitUnit } from '../streams/committer.ts';

type Fact = CommitUnit['facts'][number];

export type MarkerType = ReceiptType | 'm.fully_read';

export interface Marker {
  readonly type: MarkerType;
  readonly eventId: string;
  /** `main` or the id of a thread root; undefined for an unthreaded receipt. */
  readonly threadId?: string | undefined;
}

export interface Receipts {
  /** Moves the markers of a member; all of them or, where one is refused, none. */
  move(roomId: RoomId, userId: UserId, markers: readonly Marker[]): Promise<void>;
  /** A receipt of another server's user, who is known to be in the room. */
  take(receipt: ReceivedReceipt): Promise<void>;
}

export interface ReceivedReceipt {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly eventId: string;
  readonly threadId: string | undefined;
  /** Unix milliseconds, as the server says. */
  readonly ts: number;
}

/** What receipts need to know of rooms. */
export interface ReceiptRooms {
  loadSnapshot(roomId: RoomId): Promise<ReceiptRoom | undefined>;
  loadEvent(roomId: RoomId, eventId: Event['eventId']): Promise<PlacedEvent | undefined>;
}

interface ReceiptRoom {
  readonly isPartial: boolean;
  membershipOf(userId: string): string | undefined;
}

interface PlacedEvent {
  readonly event: Event;
  readonly position: number;
}

export interface ReceiptsOptions {
  readonly database: Transaction;
  readonly committer: Pick<Committer, 'commit'>;
  readonly rooms: ReceiptRooms;
  readonly clock: Clock;
}

interface Move {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly marker: Marker;
  readonly target: Pick<PlacedEvent, 'position'>;
  readonly ts: number;
}

export function createReceipts({ database, committer, rooms, clock }: ReceiptsOptions): Receipts {
  // Two receipts of one user at once must not both find that they are the furthest.
  const queue = new KeyedQueue<string>();

  async function loadTarget(roomId: RoomId, { eventId, threadId }: Marker): Promise<PlacedEvent> {
    const target = await loadEvent(rooms, roomId, eventId);
    if (target === undefined) throw new MatrixError('M_INVALID_PARAM', 'The event is not in this room');
    if (threadId !== undefined) await checkThread(rooms, target.event, threadId);
    return target;
  }

  async function toFact({ roomId, userId, marker, target, ts }: Move): Promise<Fact | undefined> {
    const { type, threadId } = marker;
    const eventId = marker.eventId as Event['eventId'];
    if (type === 'm.fully_read') {
      const key = { userId, roomId, type };
      const known = await loadAccountData(database, key);
      const before =
        typeof known?.['event_id'] === 'string' ? await loadEvent(rooms, roomId, known['event_id']) : undefined;
      if (before !== undefined && before.position >= target.position) return undefined;
      return { table: accountDataStream, row: { ...key, content: JSON.stringify({ event_id: eventId }) } };
    }
    const key = { roomId, type, userId, threadId };
    const known = await loadReceiptPosition(database, key);
    if (known !== undefined && known >= target.position) return undefined;
    return { table: receiptStream, row: { ...key, eventId, eventPosition: target.position, ts } };
  }

  /** In a room that has just come here, receipts point to events from before. They count less than any other. */
  async function findReceived({ roomId, eventId, threadId }: ReceivedReceipt): Promise<Move['target']> {
    const known = await loadEvent(rooms, roomId, eventId);
    const isUnknown = known === undefined && threadId === undefined && eventId.length <= MAX_ID_BYTES;
    if (isUnknown && (await rooms.loadSnapshot(roomId))?.isPartial === true) return { position: 0 };
    return loadTarget(roomId, { type: 'm.read', eventId, threadId });
  }

  return {
    async take(receipt) {
      const { roomId, userId, eventId, threadId, ts } = receipt;
      const marker: Marker = { type: 'm.read', eventId, threadId };
      checkThreadId(marker);
      const target = await findReceived(receipt);
      await queue.run(`${userId} ${roomId}`, async () => {
        const fact = await toFact({ roomId, userId, marker, target, ts });
        if (fact !== undefined) await committer.commit({ facts: [fact] });
      });
    },

    async move(roomId, userId, markers) {
      for (const marker of markers) checkThreadId(marker);
      const snapshot = await rooms.loadSnapshot(roomId);
      if (snapshot?.membershipOf(userId) !== 'join') throw new MatrixError('M_FORBIDDEN', 'You are not in this room');
      const targets = await Promise.all(markers.map((marker) => loadTarget(roomId, marker)));
      await queue.run(`${userId} ${roomId}`, async () => {
        const facts = await Promise.all(
          markers.flatMap((marker, index) => {
            const target = targets[index];
            return target === undefined ? [] : [toFact({ roomId, userId, marker, target, ts: clock.now() })];
          }),
        );
        const moved = facts.filter((fact) => fact !== undefined);
        if (moved.length > 0) await committer.commit({ facts: moved });
      });
    },
  };
}

function checkThreadId({ type, threadId }: Marker): void {
  if (threadId === undefined) return;
  if (threadId === '') throw new MatrixError('M_INVALID_PARAM', 'thread_id must not be empty');
  if (type === 'm.fully_read') throw new MatrixError('M_INVALID_PARAM', 'm.fully_read has no thread_id');
}

/**
 * Whether a receipt makes sense: for the main timeline only events that are in no thread, for a thread its root, its
 * events, and whatever relates to one of them (a reaction, an edit).
 */
async function checkThread(rooms: ReceiptRooms, start: Event, threadId: string): Promise<void> {
  const chain = [start];
  for (let event = start; chain.length <= MAX_RELATION_HOPS; ) {
    const next = nextInChain(event);
    const placed = next === undefined ? undefined : await loadEvent(rooms, event.roomId, next);
    if (placed === undefined) break;
    event = placed.event;
    chain.push(event);
  }
  const isRelated = chain.some(({ eventId }) => eventId === threadId) || threadOf(chain) === threadId;
  if (!isRelated) throw new MatrixError('M_INVALID_PARAM', 'The event is not in this thread');
}

function loadEvent(rooms: ReceiptRooms, roomId: RoomId, eventId: string): Promise<PlacedEvent | undefined> {
  // The lookup by an id that is none finds nothing.
  return rooms.loadEvent(roomId, eventId as Event['eventId']);
}
