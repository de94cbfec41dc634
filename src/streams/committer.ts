/**
 * The one door through which facts enter. Whatever waited while the last COMMIT ran goes into the next transaction
 * together, and positions are handed out in the order of commits, so that nobody can ever read past a fact that is not
 * there yet. A caller's promise is resolved after COMMIT, never before.
 *
 * Invariants: one transaction at a time; a unit is written whole or not at all; when a unit fails, those queued behind it
 * on the same chain fail with it, since they were decided on top of it; the others of its batch are tried one by one.
 */
import type { Clock } from '../lib/clock.ts';
import type { Transaction } from '../storage/database.ts';
import type { Positioned, StreamTable } from '../storage/stream-table.ts';
import { type CommittedBatch, createBatch } from './batch.ts';

/** Bounds one transaction, so that a burst is answered in steps and a failed batch is cheap to repeat. */
const MAX_FACTS_PER_BATCH = 512;
/** Bounds the wait: beyond this the database is far behind, and callers do better to hear it at once. */
const MAX_QUEUED_UNITS = 20_000;
/** How soon a database that went away is asked again. */
const MIN_RETRY_MS = 20;
const MAX_RETRY_MS = 1_000;

export interface Fact<Row = unknown> {
  readonly table: StreamTable<Row>;
  readonly row: Row;
  /** Positions that are left free right before the fact's, for what may be found out later. */
  readonly reserved?: number;
}

export interface CommitUnit {
  readonly facts: readonly Fact[];
  /** Rows without a position that must stand or fall with the facts; written first. */
  readonly also?: ((tx: Transaction) => Promise<unknown>) | undefined;
  /** Units with the same chain depend on those before them: a room's actor. */
  readonly chain?: object | undefined;
}

export interface CommitterPipeline {
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

export interface CommitterOptions {
  readonly pipeline: CommitterPipeline;
  readonly writerId: number;
  /** The last position that was committed before this start. */
  readonly position: number;
  /** The position that is in the database: asked only after a failure, to know whether a lost COMMIT took effect. */
  readonly loadPosition: () => Promise<number>;
  /** Moves the writer's position, in the same transaction. */
  readonly savePosition: (tx: Transaction, writer: { writerId: number; position: number }) => Promise<unknown>;
  /** Called once per COMMIT, synchronously, in order, before any caller is answered. */
  readonly publish: (batch: CommittedBatch) => void;
  readonly clock: Clock;
  readonly onBatch?: (batch: { facts: number; units: number; failed: boolean }) => void;
}

interface Waiting {
  readonly unit: CommitUnit;
  readonly resolve: (positions: readonly number[]) => void;
  readonly reject: (cause: unknown) => void;
}

export class CommitterClosedError extends Error {}

export class Committer implements AsyncDisposable {
  readonly writerId: number;
  readonly #options: CommitterOptions;
  #waiting: Waiting[] = [];
  #position: number;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: CommitterOptions) {
    this.#options = options;
    this.writerId = options.writerId;
    this.#position = options.position;
  }

  /** The position up to which everything is committed and published. */
  get position(): number {
    return this.#position;
  }

  /** Resolves after COMMIT with the position of each fact, in their order. */
  commit(unit: CommitUnit): Promise<readonly number[]> {
    if (this.#closed) return Promise.reject(new CommitterClosedError('the server is stopping'));
    if (this.#waiting.length >= MAX_QUEUED_UNITS) return Promise.reject(new Error('the commit queue is full'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ unit, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Commits what waits, and takes nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // One turn of the event loop: requests that arrived together get into the first batch together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#commitBatch(this.#takeBatch());
    this.#running = undefined;
  }

  #takeBatch(): Waiting[] {
    let facts = 0;
    let count = 0;
    for (const { unit } of this.#waiting) {
      facts += unit.facts.length;
      if (count > 0 && facts > MAX_FACTS_PER_BATCH) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  async #commitBatch(batch: readonly Waiting[]): Promise<void> {
    const failure = await this.#tryCommit(batch);
    if (failure === undefined) return;
    if (batch.length === 1) return this.#fail(batch, failure.cause);
    const failedChains = new Map<object, unknown>();
    for (const waiting of batch) {
      const { chain } = waiting.unit;
      if (chain !== undefined && failedChains.has(chain)) {
        waiting.reject(failedChains.get(chain));
        continue;
      }
      const alone = await this.#tryCommit([waiting]);
      if (alone === undefined) continue;
      if (chain !== undefined) failedChains.set(chain, alone.cause);
      this.#fail([waiting], alone.cause);
    }
  }

  /** Rejects the units, and those that queue behind them on the same chain. */
  #fail(failed: readonly Waiting[], cause: unknown): void {
    const chains = new Set(failed.map(({ unit }) => unit.chain).filter((chain) => chain !== undefined));
    for (const waiting of failed) waiting.reject(cause);
    const dependsOnFailed = ({ unit }: Waiting): boolean => unit.chain !== undefined && chains.has(unit.chain);
    for (const waiting of this.#waiting.filter(dependsOnFailed)) waiting.reject(cause);
    this.#waiting = this.#waiting.filter((waiting) => !dependsOnFailed(waiting));
  }

  async #tryCommit(batch: readonly Waiting[]): Promise<{ cause: unknown } | undefined> {
    let position = this.#position;
    const tables = new Map<StreamTable<unknown>, Positioned<unknown>[]>();
    const positions = batch.map(({ unit }) =>
      unit.facts.map(({ table, row, reserved = 0 }) => {
        const rows = tables.get(table) ?? [];
        position += reserved + 1;
        rows.push({ writerId: this.writerId, position, row });
        tables.set(table, rows);
        return position;
      }),
    );
    const facts = batch.reduce((count, { unit }) => count + unit.facts.length, 0);
    try {
      await this.#options.pipeline.transaction((tx) => this.#write(tx, { batch, tables, position }));
    } catch (cause) {
      this.#options.onBatch?.({ facts, units: batch.length, failed: true });
      // Where the connection broke during COMMIT, only the database knows what became of it: the writer's position
      // moves in the same transaction, so it tells.
      if (facts === 0 || (await this.#reachedPosition()) < position) return { cause };
    }
    const from = this.#position;
    this.#position = position;
    this.#options.publish(createBatch({ writerId: this.writerId, from, to: position, tables }));
    this.#options.onBatch?.({ facts, units: batch.length, failed: false });
    for (const [index, waiting] of batch.entries()) waiting.resolve(positions[index] ?? []);
    return undefined;
  }

  /** Asks until the database answers: going on without knowing would give a position twice. */
  async #reachedPosition(): Promise<number> {
    for (let delay = MIN_RETRY_MS; ; delay = Math.min(delay * 2, MAX_RETRY_MS)) {
      try {
        return await this.#options.loadPosition();
      } catch (cause) {
        if (this.#closed) throw cause;
        await new Promise<void>((resolve) => this.#options.clock.after(delay, resolve));
      }
    }
  }

  /** Issues every statement at once, so that they travel to the database in one flight. */
  #write(tx: Transaction, work: PreparedBatch): Promise<unknown> {
    const writes: Promise<unknown>[] = [];
    for (const { unit } of work.batch) if (unit.also !== undefined) writes.push(unit.also(tx));
    for (const [table, rows] of work.tables) writes.push(table.insert(tx, rows));
    writes.push(this.#options.savePosition(tx, { writerId: this.writerId, position: work.position }));
    return Promise.all(writes);
  }
}

interface PreparedBatch {
  readonly batch: readonly Waiting[];
  readonly tables: ReadonlyMap<StreamTable<unknown>, Positioned<unknown>[]>;
  readonly position: number;
}
