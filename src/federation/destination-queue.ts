/**
 * What waits for one server, in memory: events in the order of the stream, the transaction that is on its way, and where a
 * catch-up has to begin. It holds no timer and does nothing by itself; the sender asks it.
 *
 * Invariants: `pendingFrom` is never beyond an event that was not taken by the server; a transaction that failed is sent
 * again as it was, under its id, until it is taken or split.
 */
import type { ServerName } from '../protocol/ids.ts';
import type { DestinationRow, OwedEvent } from '../storage/destinations.ts';
import { EduQueue } from './edu-queue.ts';
import { MAX_EDUS, type OutgoingPdu, type Transaction } from './transaction.ts';

/** Beyond this a server is behind, and gets the newest event of each room instead of every one. */
const MAX_QUEUED = 1_000;
/** After so many failures, some twenty minutes, nothing is held in memory for a server any more. */
const MAX_HOPEFUL_FAILURES = 9;

/** From where to where a server has to be caught up with; until the catch-up begins nobody knows where it ends. */
export interface Gap {
  readonly from: number;
  readonly upTo: number | undefined;
}

export class DestinationQueue {
  readonly serverName: ServerName;
  readonly edus = new EduQueue();
  /** Whether a feature may have EDUs for it that must not be lost. */
  mayHaveStored = false;
  /** How many of those go into one transaction: fewer while one is looked for that the server refuses. */
  storedLimit = MAX_EDUS;
  /** On its way, or to be repeated. */
  sending: Transaction | undefined;
  failures = 0;
  failingSince: number | undefined;
  /** Unix milliseconds; undefined where it may be sent to at once. */
  retryAt: number | undefined;
  lastError: string | undefined;
  lastSuccessAt: number | undefined;
  #gap: Gap | undefined;
  #pdus: OutgoingPdu[] = [];
  #owed: OwedEvent[] = [];
  /** The last position that came for the server. */
  #newest = 0;

  constructor(serverName: ServerName) {
    this.serverName = serverName;
  }

  /** A queue as the database knows it. */
  static from(row: DestinationRow): DestinationQueue {
    const queue = new DestinationQueue(row.serverName);
    queue.failures = row.failures;
    queue.failingSince = row.failingSince;
    queue.retryAt = row.retryAt;
    queue.lastError = row.lastError;
    queue.lastSuccessAt = row.lastSuccessAt;
    if (row.pendingFrom !== undefined) queue.#gap = { from: row.pendingFrom, upTo: undefined };
    return queue;
  }

  get gap(): Gap | undefined {
    return this.#gap;
  }

  /** Where everything before was taken; undefined where nothing waits. */
  get pendingFrom(): number | undefined {
    const waiting = [this.#gap?.from, this.sending?.pdus[0]?.position, this.#pdus[0]?.position];
    const known = waiting.filter((position) => position !== undefined);
    return known.length === 0 ? undefined : Math.min(...known);
  }

  get isIdle(): boolean {
    return this.pendingFrom === undefined && this.sending === undefined && this.edus.isEmpty && !this.mayHaveStored;
  }

  add(pdu: OutgoingPdu): void {
    this.#newest = Math.max(this.#newest, pdu.position);
    const isWaitingForCatchUp = this.#gap !== undefined && this.#gap.upTo === undefined;
    const isHopeful = this.failures < MAX_HOPEFUL_FAILURES;
    if (!isWaitingForCatchUp && isHopeful && this.#pdus.length < MAX_QUEUED) {
      this.#pdus.push(pdu);
      return;
    }
    if (pdu.isOwed) this.#owed.push(this.#toOwed(pdu));
    // What is in the room is found again by a catch-up; the queue of a server that is that far behind only costs memory.
    if (!isWaitingForCatchUp) this.fallBehind(pdu.position);
  }

  /** Everything that waits is left to a catch-up. */
  fallBehind(newest?: number): void {
    const from = this.pendingFrom ?? newest;
    const waiting = [...(this.sending?.pdus ?? []), ...this.#pdus];
    this.#owed.push(...waiting.filter(({ isOwed }) => isOwed).map((pdu) => this.#toOwed(pdu)));
    this.#dropSending();
    this.#pdus = [];
    this.edus.clear();
    this.#gap = from === undefined ? undefined : { from, upTo: undefined };
  }

  /** The catch-up goes so far, and over all that came meanwhile; what comes from now on is queued as ever. */
  beginCatchUp(upTo: number): void {
    if (this.#gap !== undefined) this.#gap = { from: this.#gap.from, upTo: Math.max(upTo, this.#newest) };
  }

  /** Some events of the gap, in order; it goes on from `next`, where there is more of it. */
  addCaughtUp(gap: Gap, pdus: readonly OutgoingPdu[], next: number | undefined): void {
    // While the database was asked the server may have fallen behind further: then this is asked for again.
    if (this.#gap !== gap) return;
    this.#pdus.unshift(...pdus);
    this.#gap = next === undefined ? undefined : { from: next, upTo: gap.upTo };
  }

  take(limit: number): readonly OutgoingPdu[] {
    return this.#pdus.splice(0, limit);
  }

  /** Back to where they were taken from. */
  putBack(pdus: readonly OutgoingPdu[]): void {
    this.#pdus.unshift(...pdus);
  }

  succeeded(now: number): void {
    this.sending = undefined;
    this.storedLimit = MAX_EDUS;
    this.failures = 0;
    this.failingSince = undefined;
    this.retryAt = undefined;
    this.lastError = undefined;
    this.lastSuccessAt = now;
  }

  failed({ now, retryAt, error }: { readonly now: number; readonly retryAt: number; readonly error: string }): void {
    this.failures += 1;
    this.failingSince ??= now;
    this.retryAt = retryAt;
    this.lastError = error;
    this.edus.clear();
    // What was ephemeral is over by then.
    if (this.sending?.pdus.length === 0) this.#dropSending();
    if (this.failures >= MAX_HOPEFUL_FAILURES) this.fallBehind();
  }

  #dropSending(): void {
    if (this.sending?.stored !== undefined) this.mayHaveStored = true;
    this.sending = undefined;
  }

  /** What has to be stored with the row, since no catch-up by rooms would find it. */
  listOwed(): readonly OwedEvent[] {
    const waiting = [...(this.sending?.pdus ?? []), ...this.#pdus].filter(({ isOwed }) => isOwed);
    return [...this.#owed, ...waiting.map((pdu) => this.#toOwed(pdu))];
  }

  /** The database has it. */
  forgetOwed(position: number): void {
    this.#owed = this.#owed.filter((event) => event.position !== position);
  }

  toRow(): DestinationRow {
    const { serverName, pendingFrom, failures, failingSince, retryAt, lastError, lastSuccessAt } = this;
    return { serverName, pendingFrom, failures, failingSince, retryAt, lastError, lastSuccessAt };
  }

  #toOwed({ roomId, position }: OutgoingPdu): OwedEvent {
    return { serverName: this.serverName, roomId, position };
  }
}
