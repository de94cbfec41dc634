/**
 * One room: its decided and its committed snapshot, and the turn in which alone it changes. Whoever holds the turn decides
 * on top of `head`, which may be ahead of the database; readers see `committed`, which never is.
 *
 * Invariants: one turn at a time; a unit that fails retires the actor, and the engine loads the room anew; a retired actor
 * hands out no turn.
 */
import type { RoomId } from '../protocol/ids.ts';
import { type ClientTransaction, type TimelineEvent, toStateChange } from '../storage/events.ts';
import type { PduRow } from '../storage/pdu-stream.ts';
import type { KnownTransaction } from '../storage/rooms.ts';
import type { StateChangeRow } from '../storage/state-change-stream.ts';
import type { Positioned } from '../storage/stream-table.ts';
import type { RoomSnapshot } from './room-snapshot.ts';
import { RoomTail } from './room-tail.ts';
import type { StateChain } from './state-chain.ts';
import type { SentEvent } from './types.ts';

/** How a room came to be in memory. */
export interface ActorStart {
  readonly snapshot: RoomSnapshot;
  readonly lastPosition: number;
  /** Known for a room that was just created, otherwise loaded before the first state event. */
  readonly chain: StateChain | undefined;
}

/** Permission to change the room: exists only inside `turn`. */
export interface Turn {
  readonly actor: RoomActor;
  readonly head: RoomSnapshot;
  readonly chain: StateChain | undefined;
  setChain(chain: StateChain): void;
  /** Makes `snapshots.at(-1)` the head; each becomes `committed` when its event is. */
  advance(
    decided: readonly { readonly nid: number; readonly snapshot: RoomSnapshot }[],
    chain: StateChain | undefined,
  ): void;
}

export class RetiredError extends Error {}

/** Bounds the answers remembered per device and room; a client retries its newest requests. */
export const MAX_TRANSACTIONS_PER_DEVICE = 500;
/** Bounds the devices whose transactions are in memory; the others are read again when they send. */
const MAX_DEVICES_PER_ROOM = 2_000;

type Transactions = Map<string, Promise<readonly SentEvent[]>>;

export class RoomActor {
  readonly roomId: RoomId;
  readonly tail: RoomTail;
  #head: RoomSnapshot;
  #committed: RoomSnapshot;
  #chain: StateChain | undefined;
  #lastTurn: Promise<unknown> = Promise.resolve();
  #retired = false;
  #turns = 0;
  /** Snapshots that are decided and not committed, by the nid of their event. */
  readonly #decided = new Map<number, RoomSnapshot>();
  readonly #transactions = new Map<string, Promise<Transactions>>();

  constructor({ snapshot, lastPosition, chain }: ActorStart) {
    this.roomId = snapshot.roomId;
    this.#head = snapshot;
    this.#committed = snapshot;
    this.#chain = chain;
    this.tail = new RoomTail(lastPosition);
  }

  get committed(): RoomSnapshot {
    return this.#committed;
  }

  get isRetired(): boolean {
    return this.#retired;
  }

  /** Whether something is decided and not yet committed. */
  get isBusy(): boolean {
    return this.#decided.size > 0;
  }

  /** Whether a turn is under way or waits: nobody else may decide meanwhile. */
  get isInTurn(): boolean {
    return this.#turns > 0;
  }

  /** After this, nothing more is decided here. */
  retire(): void {
    this.#retired = true;
  }

  /** Runs `work` when every earlier turn is over. */
  turn<T>(work: (turn: Turn) => Promise<T>): Promise<T> {
    const result = this.#lastTurn.then(() => {
      if (this.#retired) throw new RetiredError('the room was dropped from memory');
      return work(this.#createTurn());
    });
    // The next turn waits for this one, whatever became of it; its caller alone hears of a failure.
    this.#turns += 1;
    this.#lastTurn = result
      .catch(() => undefined)
      .then(() => {
        this.#turns -= 1;
      });
    return result;
  }

  #createTurn(): Turn {
    const actor = this;
    return {
      actor,
      get head() {
        return actor.#head;
      },
      get chain() {
        return actor.#chain;
      },
      setChain(chain) {
        actor.#chain = chain;
      },
      advance(decided, chain) {
        for (const { nid, snapshot } of decided) actor.#decided.set(nid, snapshot);
        actor.#head = decided.at(-1)?.snapshot ?? actor.#head;
        actor.#chain = chain;
      },
    };
  }

  /** Called in the order of positions, before anyone is told. */
  onCommitted({ position, row }: Positioned<PduRow>): TimelineEvent {
    const snapshot = this.#decided.get(row.stored.nid);
    if (snapshot !== undefined) {
      this.#decided.delete(row.stored.nid);
      this.#committed = snapshot;
    }
    const event = { ...row.stored, position };
    if (row.redacts !== undefined) this.tail.redact(row.redacts, row.stored, row.stored.version);
    this.tail.append(event);
    return event;
  }

  /** What state resolution changed together with an event that was committed just before. */
  onStateChanged({ position, row: { current } }: Positioned<StateChangeRow>): void {
    if (current !== undefined) this.tail.append(toStateChange({ ...current, position }));
  }

  /**
   * Runs `send` once for a client's transaction: a second call joins the first, or gets what it gave. A failed one is
   * forgotten, so that the client may try again.
   */
  async once(transaction: ClientTransaction, work: OnceWork): Promise<readonly SentEvent[]> {
    const known = await this.#transactionsOf(transaction, work.load);
    const key = `${transaction.path}\u0000${transaction.txnId}`;
    const earlier = known.get(key);
    if (earlier !== undefined) return earlier;
    const sent = work.send();
    known.set(key, sent);
    const oldest = known.keys().next();
    if (known.size > MAX_TRANSACTIONS_PER_DEVICE && oldest.done !== true) known.delete(oldest.value);
    sent.catch(() => known.delete(key));
    return sent;
  }

  #transactionsOf({ userId, deviceId }: ClientTransaction, load: OnceWork['load']): Promise<Transactions> {
    const device = `${userId}\u0000${deviceId}`;
    const loading = this.#transactions.get(device) ?? load().then(toTransactions);
    // Moved to the end: the map's order is that of the last use.
    this.#transactions.delete(device);
    this.#transactions.set(device, loading);
    loading.catch(() => this.#transactions.delete(device));
    const oldest = this.#transactions.keys().next();
    if (this.#transactions.size > MAX_DEVICES_PER_ROOM && oldest.done !== true) this.#transactions.delete(oldest.value);
    return loading;
  }
}

interface OnceWork {
  readonly load: () => Promise<readonly KnownTransaction[]>;
  readonly send: () => Promise<readonly SentEvent[]>;
}

/** Oldest first, so that the map forgets the oldest. */
function toTransactions(known: readonly KnownTransaction[]): Transactions {
  return new Map(
    known
      .map(({ path, txnId, eventId, nid }): [string, Promise<readonly SentEvent[]>] => [
        `${path}\u0000${txnId}`,
        Promise.resolve([{ eventId, nid }]),
      ])
      .reverse(),
  );
}
