/**
 * Sends what this server's users do to the servers that take part: follows the stream, keeps a queue for each server that
 * something waits for, and works on a bounded number of them at once, one transaction of each in turn.
 *
 * Invariants: the write path knows nothing of this; what a server did not take is found again after a restart, since the
 * position in the stream is stored no later than what is owed up to it; there is one timer, whatever the number of servers.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#transactions
 */
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { Lru } from '../lib/lru.ts';
import type { Random } from '../lib/random.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { type DestinationRow, listCatchUpEvents, listUnsettledDestinations } from '../storage/destinations.ts';
import { deleteTakenPartingEvents } from '../storage/parting-events.ts';
import { loadFollowerPosition } from '../storage/stream-followers.ts';
import type { Hub } from '../streams/hub.ts';
import { backOffDelay, isRefusedContent } from './back-off.ts';
import { type FederationClient, federationPath } from './client.ts';
import { DestinationQueue } from './destination-queue.ts';
import type { EduQueue } from './edu-queue.ts';
import { createFanOut } from './fan-out.ts';
import { FederationError } from './federation-error.ts';
import type { RoomServers } from './room-servers.ts';
import { createSenderProgress, followerOf } from './sender-progress.ts';
import type { ServerPolicy } from './server-policy.ts';
import { type EduSource, listStoredEdus, type StoredEdus } from './stored-edus.ts';
import { createTransaction, encodePdu, MAX_EDUS, MAX_PDUS, type OutgoingPdu, type Transaction } from './transaction.ts';

export interface Sender extends AsyncDisposable {
  /** Adds ephemeral things for a server; those for servers that do not answer are dropped. */
  addEdus(serverName: ServerName, add: (edus: EduQueue) => void): void;
  /** A feature has EDUs for the server that must not be lost. */
  wake(serverName: ServerName): void;
  /** The server was heard from: whatever waits for it is tried at once. */
  heardFrom(serverName: ServerName): void;
  /** Tries a server again now, however often it failed; says whether anything waits for it. */
  retry(serverName: ServerName): boolean;
  /** How it stands with a server that something waits for, or that did not answer. */
  get(serverName: ServerName): DestinationRow | undefined;
  /** Servers that something waits for, and those of them that fail. */
  readonly counts: { readonly waiting: number; readonly failing: number };
  /** Resolves when all that was committed before waits in the queues, and the database knows for which servers. */
  settle(): Promise<void>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

export interface SenderOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshots'>;
  readonly roomServers: RoomServers;
  readonly hub: Hub;
  readonly committer: { readonly writerId: number; readonly position: number };
  readonly client: Pick<FederationClient, 'fetchJson'>;
  readonly policy: ServerPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly serverName: ServerName;
  /** Features that keep EDUs until they arrived. */
  readonly eduSources?: readonly EduSource[];
}

/** Servers that are sent to at the same time: few of them answer slowly, and those must not hold up the others. */
const MAX_SENDING = 64;
/** Receivers check signatures and state before they answer. */
const DEADLINE_MS = 60_000;
/** A result for each event. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** How often hearing from a server leads to an attempt: some reach us whom we do not reach. */
const HEARD_PAUSE_MS = 10_000;
const MAX_HEARD = 10_000;
/** After a fault of ours, such as a database that is away. */
const FAULT_PAUSE_MS = 1_000;

export async function createSender(options: SenderOptions): Promise<Sender> {
  const { database, committer, hub } = options;
  const rows = await listUnsettledDestinations(database);
  await deleteTakenPartingEvents(database);
  // A server that never sent anything has nothing to send of what was before.
  const position = (await loadFollowerPosition(database, followerOf(committer.writerId))) ?? committer.position;
  const sender = new FederationSender(options, { rows, position });
  sender.start(hub);
  return sender;
}

class FederationSender implements Sender {
  readonly #options: SenderOptions;
  readonly #queues = new Map<ServerName, DestinationQueue>();
  /** Those whose turn it is, in order. */
  readonly #ready = new Set<DestinationQueue>();
  readonly #working = new Map<DestinationQueue, Promise<void>>();
  readonly #fanOut;
  readonly #progress;
  readonly #heardAt = new Lru<ServerName, number>({ maxCost: MAX_HEARD });
  readonly #stopping = new AbortController();
  readonly #txnPrefix: string;
  #transactions = 0;
  #following: Disposable | undefined;
  #timer: { readonly at: number; readonly handle: Disposable } | undefined;

  constructor(options: SenderOptions, start: { readonly rows: readonly DestinationRow[]; readonly position: number }) {
    this.#options = options;
    this.#txnPrefix = `${options.clock.now().toString(36)}${options.random.alphanumeric(6)}`;
    for (const row of start.rows) this.#queues.set(row.serverName, DestinationQueue.from(row));
    const onError = (cause: unknown): void => this.#onFault(cause);
    this.#fanOut = createFanOut({
      ...options,
      position: start.position,
      deliver: (serverName, pdu) => this.#deliver(serverName, pdu),
      onProgress: () => this.#progress.touch(),
      onError,
    });
    this.#progress = createSenderProgress({
      ...options,
      writerId: options.committer.writerId,
      rows: start.rows,
      getPosition: () => this.#fanOut.position,
      queues: this.#queues,
      onError,
    });
  }

  start(hub: Hub): void {
    this.#following = hub.follow((batch) => this.#fanOut.follow(batch));
    this.#fanOut.start(this.#options.committer.position);
    this.#progress.touch();
    this.#findReady();
  }

  get counts(): { waiting: number; failing: number } {
    const queues = [...this.#queues.values()];
    return {
      waiting: queues.filter(({ pendingFrom }) => pendingFrom !== undefined).length,
      failing: queues.filter(({ failures }) => failures > 0).length,
    };
  }

  get(serverName: ServerName): DestinationRow | undefined {
    return this.#queues.get(serverName)?.toRow();
  }

  addEdus(serverName: ServerName, add: (edus: EduQueue) => void): void {
    if (!this.#options.policy.admits(serverName)) return;
    const queue = this.#queueOf(serverName);
    if ((queue.retryAt ?? 0) > this.#options.clock.now()) return;
    add(queue.edus);
    this.#enqueue(queue);
  }

  wake(serverName: ServerName): void {
    if (!this.#options.policy.admits(serverName)) return;
    const queue = this.#queueOf(serverName);
    queue.mayHaveStored = true;
    this.#enqueue(queue);
  }

  heardFrom(serverName: ServerName): void {
    const queue = this.#queues.get(serverName);
    if (queue === undefined || queue.failures === 0) return;
    const now = this.#options.clock.monotonic();
    if (now - (this.#heardAt.get(serverName) ?? Number.NEGATIVE_INFINITY) < HEARD_PAUSE_MS) return;
    this.#heardAt.set(serverName, now);
    this.retry(serverName);
  }

  retry(serverName: ServerName): boolean {
    const queue = this.#queues.get(serverName);
    if (queue === undefined) return false;
    queue.retryAt = undefined;
    this.#enqueue(queue);
    return !queue.isIdle;
  }

  async settle(): Promise<void> {
    const { position } = this.#options.committer;
    await this.#fanOut.idle();
    if (this.#fanOut.position < position) throw new Error('what was committed could not be handed to the queues');
    await this.#progress.flush();
  }

  async idle(): Promise<void> {
    await this.#fanOut.idle();
    while (this.#working.size > 0) await Promise.all(this.#working.values());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#following?.[Symbol.dispose]();
    this.#timer?.handle[Symbol.dispose]();
    this.#stopping.abort();
    await this.idle();
    await this.#progress.close();
  }

  #queueOf(serverName: ServerName): DestinationQueue {
    const queue = this.#queues.get(serverName) ?? new DestinationQueue(serverName);
    this.#queues.set(serverName, queue);
    return queue;
  }

  #deliver(serverName: ServerName, pdu: OutgoingPdu): void {
    this.#progress.noteRoom(pdu.roomId, pdu.position);
    if (!this.#options.policy.admits(serverName)) return;
    const queue = this.#queueOf(serverName);
    queue.add(pdu);
    this.#enqueue(queue);
  }

  #enqueue(queue: DestinationQueue): void {
    if (this.#working.has(queue) || queue.isIdle) return;
    const { retryAt } = queue;
    if (retryAt !== undefined && retryAt > this.#options.clock.now()) {
      this.#schedule(retryAt);
      return;
    }
    this.#ready.add(queue);
    this.#pump();
  }

  /** Begins as much as may go on at once; what becomes ready later finds its place behind the others. */
  #pump(): void {
    for (const queue of this.#ready) {
      if (this.#working.size >= MAX_SENDING || this.#stopping.signal.aborted) return;
      this.#ready.delete(queue);
      const work = this.#work(queue).catch((cause: unknown) => {
        queue.retryAt = this.#options.clock.now() + FAULT_PAUSE_MS;
        this.#onFault(cause);
      });
      this.#working.set(
        queue,
        work.then(() => this.#settle(queue)),
      );
    }
  }

  #settle(queue: DestinationQueue): void {
    this.#working.delete(queue);
    if (queue.isIdle && queue.failures === 0) this.#queues.delete(queue.serverName);
    else this.#enqueue(queue);
    this.#pump();
  }

  /** One transaction. */
  async #work(queue: DestinationQueue): Promise<void> {
    queue.sending ??= await this.#prepare(queue);
    if (queue.sending === undefined) return;
    const { stored } = queue.sending;
    try {
      await this.#send(queue, queue.sending);
      await stored?.delivered();
      if (queue.failures > 0) this.#options.logger.info({ server: queue.serverName }, 'a server answers again');
      queue.succeeded(this.#options.clock.now());
      this.#progress.touch();
    } catch (cause) {
      if (!(cause instanceof FederationError)) throw cause;
      if (!this.#stopping.signal.aborted) await this.#onFailure(queue, cause);
    }
  }

  async #prepare(queue: DestinationQueue): Promise<Transaction | undefined> {
    if (queue.gap !== undefined) await this.#catchUp(queue);
    const stored = await this.#listStored(queue);
    const pdus = queue.take(MAX_PDUS);
    const edus = queue.edus.take(MAX_EDUS - (stored?.edus.length ?? 0));
    if (pdus.length + edus.length === 0 && stored === undefined) return undefined;
    return this.#createTransaction({ pdus, edus, stored });
  }

  async #listStored(queue: DestinationQueue): Promise<StoredEdus | undefined> {
    if (!queue.mayHaveStored) return undefined;
    // Whatever comes from now on says so again.
    queue.mayHaveStored = false;
    const stored = await listStoredEdus(this.#options.eduSources ?? [], queue.serverName, queue.storedLimit);
    if (stored.edus.length === 0) return undefined;
    // There may be more behind these.
    queue.mayHaveStored = true;
    return stored;
  }

  #createTransaction(parts: Pick<Transaction, 'pdus' | 'edus' | 'stored'>): Transaction {
    this.#transactions += 1;
    const txnId = `${this.#txnPrefix}-${this.#transactions}`;
    return createTransaction({ ...parts, txnId, origin: this.#options.serverName, now: this.#options.clock.now() });
  }

  async #catchUp(queue: DestinationQueue): Promise<void> {
    if (queue.gap?.upTo === undefined) await this.#beginCatchUp(queue);
    const { gap, serverName } = queue;
    if (gap?.upTo === undefined) return;
    const range = { serverName, from: gap.from, upTo: gap.upTo, limit: MAX_PDUS };
    const found = gap.from > gap.upTo ? [] : await listCatchUpEvents(this.#options.database, range);
    const pdus = found.flatMap(({ pdu, ...place }) => {
      const text = encodePdu(pdu);
      return text === undefined ? [] : [{ ...place, text }];
    });
    queue.addCaughtUp(gap, pdus, found.length < MAX_PDUS ? undefined : (found.at(-1)?.position ?? gap.upTo) + 1);
  }

  /** What the catch-up is to find has to be in the database first. */
  async #beginCatchUp(queue: DestinationQueue): Promise<void> {
    queue.beginCatchUp(this.#fanOut.position);
    try {
      await this.#progress.flush();
    } catch (cause) {
      queue.fallBehind();
      throw cause;
    }
  }

  async #send({ serverName }: DestinationQueue, { txnId, content }: Transaction): Promise<void> {
    await this.#options.client.fetchJson({
      destination: serverName,
      method: 'PUT',
      path: federationPath`/_matrix/federation/v1/send/${txnId}`,
      content,
      deadlineMs: DEADLINE_MS,
      maxBytes: MAX_ANSWER_BYTES,
      signal: this.#stopping.signal,
    });
  }

  async #onFailure(queue: DestinationQueue, cause: FederationError): Promise<void> {
    const { clock, random, logger } = this.#options;
    const { serverName: server } = queue;
    if (isRefusedContent(cause) && queue.sending !== undefined) {
      await this.#split(queue, queue.sending);
      return;
    }
    const now = clock.now();
    const { outcome, reason, status, errcode } = cause;
    const after = outcome.kind === 'retry' ? outcome.after : undefined;
    const delay = backOffDelay(queue.failures, { random, after });
    queue.failed({ now, retryAt: now + delay, error: cause.message });
    // The first failure is news, the hundredth is not.
    const level = queue.failures === 1 ? 'info' : 'debug';
    logger[level]({ server, reason, status, errcode, failures: queue.failures, delay }, 'a server took no transaction');
    this.#progress.touch();
  }

  /** What a server refuses for its content is tried in parts, until what it refuses stands alone and is left out. */
  async #split(queue: DestinationQueue, { pdus, edus, stored }: Transaction): Promise<void> {
    const half = Math.ceil(pdus.length / 2);
    queue.sending = undefined;
    if (pdus.length > 1 || (pdus.length === 1 && edus.length > 0)) {
      queue.putBack(pdus.slice(half));
      queue.sending = this.#createTransaction({ pdus: pdus.slice(0, half), edus: [], stored: undefined });
      return;
    }
    const count = pdus.length + (stored?.edus.length ?? 0);
    if (count > 1) {
      queue.storedLimit = Math.ceil(count / 2);
      return;
    }
    await stored?.delivered();
    const left = { server: queue.serverName, roomId: pdus[0]?.roomId, position: pdus[0]?.position };
    if (count > 0) this.#options.logger.warn(left, 'a server refuses an event or EDU; it is not sent again');
  }

  /** One timer for all: at the time when the first of those that failed may be tried again. */
  #schedule(at: number): void {
    if (this.#stopping.signal.aborted || (this.#timer !== undefined && this.#timer.at <= at)) return;
    this.#timer?.handle[Symbol.dispose]();
    const delay = Math.max(MIN_DELAY_MS, at - this.#options.clock.now());
    const handle = this.#options.clock.after(delay, () => {
      this.#timer = undefined;
      this.#findReady();
    });
    this.#timer = { at, handle };
  }

  #findReady(): void {
    for (const queue of this.#queues.values()) this.#enqueue(queue);
  }

  #onFault(cause: unknown): void {
    if (this.#stopping.signal.aborted) return;
    this.#options.logger.error({ cause }, 'sending to other servers failed; trying again');
    this.#options.clock.after(FAULT_PAUSE_MS, () => this.#fanOut.wake());
  }
}

/** Those that are due within it are begun together. */
const MIN_DELAY_MS = 100;
