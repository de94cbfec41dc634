/**
 * The committer's connection: `begin`, every statement of a transaction and `commit` leave in one flight, so that a
 * commit costs one round trip. It also holds the instance lock (instance-lock.ts): whoever loses this connection has
 * lost the right to write, and gets it back only together with the lock.
 *
 * Invariants: one transaction at a time; a statement that comes after `work` returned is refused, since `commit` has
 * already left; when the connection is lost behind a `commit`, the outcome is known only after the next connection holds
 * the lock, since the old one is then certainly gone.
 */
import pg from 'pg';
import { clientOptions, isStatementError, runStatement } from './connection.ts';
import type { Transaction } from './database.ts';
import { holdInstanceLock, InstanceRunningError } from './instance-lock.ts';
import { RolledBackError } from './pool.ts';
import type { Statement } from './sql.ts';

export interface PipelineOptions {
  readonly connection: string;
  /** Whether to hold the instance lock; true unless a test says otherwise. */
  readonly lock?: boolean;
  /** Milliseconds to wait for the lock of a server that was just killed. */
  readonly lockGrace?: number;
  readonly onStatement?: (name: string) => void;
  /** The connection was lost; the next transaction opens another. */
  readonly onLost?: (cause: Error) => void;
  /** Another server took the lock while the connection was lost: this one must stop. */
  readonly onReplaced?: (cause: InstanceRunningError) => void;
}

export interface Pipeline extends AsyncDisposable {
  readonly stats: { readonly statements: number; readonly transactions: number };
  /** `work` issues all its statements at once and returns `Promise.all` of them; it decides nothing from their answers. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}

/** The connection was lost after `commit` had left: the transaction may or may not have been committed. */
export class CommitOutcomeUnknownError extends Error {}

/** Opens the connection and takes the lock; rejects with an InstanceRunningError when another server holds it. */
export async function createPipeline(options: PipelineOptions): Promise<Pipeline> {
  const pipeline = new PipelineConnection(options);
  await pipeline.connect();
  return pipeline;
}

class PipelineConnection implements Pipeline {
  readonly #options: PipelineOptions;
  readonly stats = { statements: 0, transactions: 0 };
  #client: pg.Client | undefined;
  #backend: number | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: PipelineOptions) {
    this.#options = options;
  }

  async connect(): Promise<pg.Client> {
    if (this.#closed) throw new Error('the database connection is closed');
    const client = new pg.Client(clientOptions(this.#options.connection));
    client.on('error', (cause) => this.#lose(client, cause));
    client.on('end', () => this.#lose(client, new Error('PostgreSQL closed the connection')));
    await client.connect();
    try {
      if (this.#options.lock !== false) this.#backend = await this.#takeLock(client);
    } catch (cause) {
      await client.end();
      if (cause instanceof InstanceRunningError && this.#backend !== undefined) this.#options.onReplaced?.(cause);
      throw cause;
    }
    this.#client = client;
    return client;
  }

  #takeLock(client: pg.Client): Promise<number> {
    return holdInstanceLock(client, { previousBackend: this.#backend, grace: this.#options.lockGrace });
  }

  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const result = this.#running.then(() => this.#run(work));
    this.#running = result.catch(() => undefined);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#running;
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
  }

  #lose(client: pg.Client, cause: Error): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#options.onLost?.(cause);
  }

  async #run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const client = this.#client ?? (await this.connect());
    const { stream } = client.connection;
    stream.cork();
    const begun = client.query('begin');
    const guard: Guard = { open: true, failed: false, cause: undefined };
    const working = startWork(work, { query: (statement) => this.#issue(client, guard, statement) });
    working.catch(() => {
      guard.failed = true;
    });
    // Runs when every microtask has: work that failed without the database's help is rolled back, not half committed.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    guard.open = false;
    const ended = client.query(guard.failed ? 'rollback' : 'commit');
    stream.uncork();
    const [worked, ending] = await Promise.allSettled([working, ended, begun]);
    this.stats.transactions += 1;
    return settle(worked, ending, guard);
  }

  #issue<Row>(client: pg.Client, guard: Guard, statement: Statement<Row>): Promise<readonly Row[]> {
    if (!guard.open) return Promise.reject(new Error(`a statement came after its commit had left: ${statement.text}`));
    this.stats.statements += 1;
    this.#options.onStatement?.(statement.name);
    const rows = runStatement(client, statement);
    rows.catch((cause: unknown) => {
      guard.cause ??= cause;
    });
    return rows;
  }
}

/** One transaction's progress. */
interface Guard {
  open: boolean;
  failed: boolean;
  /** Why the first statement failed; those behind it only report that it did. */
  cause: unknown;
}

/** Turns what `work` throws before its first await into a rejection. */
async function startWork<T>(work: (tx: Transaction) => Promise<T>, tx: Transaction): Promise<T> {
  return work(tx);
}

function settle<T>(worked: PromiseSettledResult<T>, ended: PromiseSettledResult<pg.QueryResult>, { cause }: Guard): T {
  if (worked.status === 'rejected' && (ended.status === 'fulfilled' || isStatementError(worked.reason))) {
    throw cause ?? worked.reason;
  }
  if (ended.status === 'rejected') {
    if (isStatementError(ended.reason)) throw ended.reason;
    throw new CommitOutcomeUnknownError('the database connection was lost during a commit', { cause: ended.reason });
  }
  if (ended.value.command !== 'COMMIT' || worked.status === 'rejected') {
    throw new RolledBackError('a statement failed unnoticed, and the transaction with it');
  }
  return worked.value;
}
