/**
 * What was committed lately, in memory: a sync from a recent token finds here what changed since, and asks the database
 * nothing. Bounded; older tokens are answered from the database.
 */
import type { Clock } from '../lib/clock.ts';
import type { RoomId } from '../protocol/ids.ts';
import { type AccountDataRow, accountDataStream } from '../storage/account-data.ts';
import { type OutsideMembership, outsideStream } from '../storage/outside-memberships.ts';
import { wholeRoomStream } from '../storage/partial-rooms.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { type ReceiptRow, receiptStream } from '../storage/receipts.ts';
import { stateChangeStream } from '../storage/state-change-stream.ts';
import type { CommittedBatch } from '../streams/batch.ts';
import type { Hub } from '../streams/hub.ts';

export type RecentChange = EventChange | ReceiptChange | AccountDataChange | OutsideChange;

export interface EventChange {
  readonly kind: 'event';
  readonly position: number;
  readonly roomId: RoomId;
  /** For a membership event: whose, and what it was before and is now. */
  readonly member: MemberChange | undefined;
}

export interface MemberChange {
  readonly userId: string;
  readonly earlier: string | undefined;
  readonly membership: string;
}

export interface ReceiptChange {
  readonly kind: 'receipt';
  readonly position: number;
  readonly row: ReceiptRow;
}

export interface AccountDataChange {
  readonly kind: 'account_data';
  readonly position: number;
  readonly row: AccountDataRow;
}

export interface OutsideChange {
  readonly kind: 'outside';
  readonly position: number;
  readonly row: OutsideMembership;
}

export interface RecentChanges extends Disposable {
  /** Up to here everything committed is visible in the room snapshots, the tails and here. */
  readonly position: number;
  /** Everything after the position, oldest first; undefined where memory does not reach back so far. */
  since(position: number): readonly RecentChange[] | undefined;
  /**
   * Resolves when `position` is at least this. The database may show a COMMIT before its writer has heard of it: what a
   * query saw must be in memory too before both are put together.
   */
  reach(position: number): Promise<void>;
  /** For what happened outside the streams: tokens up to the next position are answered from the database. */
  forget(): void;
}

export interface RecentChangesOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  /** The last committed position. */
  readonly position: number;
  readonly maxChanges?: number;
}

/** A minute of a busy server; about 4 MB. */
const MAX_CHANGES = 16_384;
/** Content of account data and stripped state kept here; what is larger is read from the database again. */
const MAX_CONTENT_CHARACTERS = 8 * 1024 * 1024;

/** A writer that has not heard of its own COMMIT by then has lost its connection; the client may try again. */
const MAX_BEHIND_MS = 5_000;

/** Has to be made after the engine, so that rooms hear of a batch before this does. */
export function createRecentChanges(options: RecentChangesOptions): RecentChanges {
  const { hub, clock, maxChanges = MAX_CHANGES } = options;
  const reaching = new Set<{ readonly position: number; readonly done: () => void }>();
  let changes: RecentChange[] = [];
  let from = options.position;
  let position = options.position;
  let characters = 0;

  const dropOldest = (): void => {
    let dropped = 0;
    while (changes.length - dropped > maxChanges || characters > MAX_CONTENT_CHARACTERS) {
      const oldest = changes[dropped];
      if (oldest === undefined) break;
      from = oldest.position;
      characters -= sizeOf(oldest);
      dropped += 1;
    }
    changes = changes.slice(dropped);
  };
  const following = hub.follow((batch) => {
    for (const change of changesIn(batch)) {
      changes.push(change);
      characters += sizeOf(change);
    }
    position = batch.to;
    for (const waiting of reaching) if (waiting.position <= position) waiting.done();
    // Dropping in large steps keeps the cost per change constant.
    if (changes.length > maxChanges * 1.25 || characters > MAX_CONTENT_CHARACTERS) dropOldest();
  });

  return {
    get position() {
      return position;
    },
    since(after) {
      if (after < from) return undefined;
      return after >= position ? [] : changes.slice(indexAfter(changes, after));
    },
    reach(wanted) {
      if (wanted <= position) return Promise.resolve();
      return new Promise((resolve, reject) => {
        const settle = (end: () => void): void => {
          reaching.delete(waiting);
          timer[Symbol.dispose]();
          end();
        };
        const waiting = { position: wanted, done: () => settle(resolve) };
        const timer = clock.after(MAX_BEHIND_MS, () =>
          settle(() => reject(new Error(`position ${wanted} is committed, but was never published`))),
        );
        reaching.add(waiting);
      });
    },
    forget() {
      changes = [];
      characters = 0;
      from = position + 1;
    },
    [Symbol.dispose]: () => following[Symbol.dispose](),
  };
}

function changesIn(batch: CommittedBatch): readonly RecentChange[] {
  const events = batch.rowsOf(pduStream).map(({ position, row }): RecentChange => {
    const { event, replaces } = row.stored;
    const membership = row.state?.membership;
    return {
      kind: 'event',
      position,
      roomId: row.head.roomId,
      member:
        membership === undefined || event.stateKey === undefined
          ? undefined
          : { userId: event.stateKey, membership, earlier: textOf(replaces?.content['membership']) },
    };
  });
  const stateChanges = batch.rowsOf(stateChangeStream);
  const wholeRooms = batch.rowsOf(wholeRoomStream);
  const receipts = batch.rowsOf(receiptStream);
  const accountData = batch.rowsOf(accountDataStream);
  const outside = batch.rowsOf(outsideStream);
  if ([stateChanges, wholeRooms, receipts, accountData, outside].every(({ length }) => length === 0)) return events;
  return [
    ...events,
    ...stateChanges.map(({ position, row: { roomId, stateKey, member } }): RecentChange => {
      return { kind: 'event', position, roomId, member: member && { ...member, userId: stateKey } };
    }),
    ...wholeRooms.map(({ position, row: { roomId } }): RecentChange => {
      return { kind: 'event', position, roomId, member: undefined };
    }),
    ...receipts.map(({ position, row }): RecentChange => ({ kind: 'receipt', position, row })),
    ...accountData.map(({ position, row }): RecentChange => ({ kind: 'account_data', position, row })),
    ...outside.map(({ position, row }): RecentChange => ({ kind: 'outside', position, row })),
  ].sort((a, b) => a.position - b.position);
}

function sizeOf(change: RecentChange): number {
  if (change.kind === 'account_data') return change.row.content.length;
  if (change.kind === 'outside') return change.row.strippedState.length + change.row.pduText.length;
  return 0;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Index of the first change after the position. */
function indexAfter(changes: readonly RecentChange[], position: number): number {
  let low = 0;
  let high = changes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((changes[middle]?.position ?? 0) > position) high = middle;
    else low = middle + 1;
  }
  return low;
}
