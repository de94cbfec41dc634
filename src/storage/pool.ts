/**
 * The pool: connections for ordinary statements and transactions. What the committer writes goes over a connection of its
 * own (pipeline.ts). Statements of one transaction may be issued without awaiting each other: they travel together.
 */
import pg from 'pg';
import { clientOptions, isConnectionError, runStatement } from './connection.ts';
import type { Database, Transaction } from './database.ts';

export interface PoolOptions {
  /** A `postgresql://` URL. */
  readonly connection: string;
  readonly maxOpenConnections?: number;
  readonly maxIdleConnections?: number;
  /** Milliseconds after which a connection is replaced; 0 for never. */
  readonly maxOpenLifetime?: number;
  /** Milliseconds after which an unused connection is closed; 0 for never. */
  readonly maxIdleLifetime?: number;
  readonly onStatement?: (name: string) => void;
  /** A connection was lost while nobody used it. */
  readonly onError?: (cause: Error) => void;
}

export interface PoolStats {
  /** Statements issued since the start, without `begin`, `commit` and `rollback`. */
  readonly statements: number;
  readonly open: number;
  readonly idle: number;
  readonly waiting: number;
}

export interface Pool extends Database, AsyncDisposable {
  readonly stats: PoolStats;
}

/** Enough to keep a laptop's PostgreSQL busy, and few enough for its default of 100 connections. */
export const DEFAULT_MAX_OPEN_CONNECTIONS = 20;

/** A transaction that its author ended normally, but that PostgreSQL rolled back since a statement in it failed. */
export class RolledBackError extends Error {}

export function createPool(options: PoolOptions): Pool {
  const { maxOpenConnections = DEFAULT_MAX_OPEN_CONNECTIONS, maxIdleConnections = maxOpenConnections } = options;
  const pool = new pg.Pool({
    ...clientOptions(options.connection),
    max: maxOpenConnections,
    allowExitOnIdle: true,
    idleTimeoutMillis: options.maxIdleLifetime ?? 0,
    maxLifetimeSeconds: Math.ceil((options.maxOpenLifetime ?? 0) / 1000),
  });
  pool.on('error', (cause) => options.onError?.(cause));
  let statements = 0;

  const issue = (client: pg.PoolClient): Transaction['query'] => {
    return (statement) => {
      statements += 1;
      options.onStatement?.(statement.name);
      return runStatement(client, statement);
    };
  };
  async function withConnection<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await pool.connect();
    let broken = true;
    // A connection that breaks in use emits its error besides rejecting the statement; one report is enough.
    const ignore = (): void => undefined;
    client.on('error', ignore);
    try {
      const result = await work(client);
      broken = false;
      return result;
    } catch (cause) {
      broken = isConnectionError(cause) || client.getTransactionStatus() !== 'I';
      throw cause;
    } finally {
      client.off('error', ignore);
      client.release(broken || pool.idleCount >= maxIdleConnections);
    }
  }

  return {
    get stats() {
      return { statements, open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount };
    },
    query: (statement) => withConnection((client) => issue(client)(statement)),
    transaction: (work) => withConnection((client) => runTransaction(client, () => work({ query: issue(client) }))),
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

async function runTransaction<T>(client: pg.PoolClient, work: () => Promise<T>): Promise<T> {
  const begun = client.query('begin');
  // Its failure is thrown below; until then `work` may already have failed for the same reason.
  begun.catch(() => undefined);
  let result: T;
  try {
    result = await work();
    await begun;
  } catch (cause) {
    await client.query('rollback');
    throw cause;
  }
  const { command } = await client.query('commit');
  if (command !== 'COMMIT') throw new RolledBackError('a statement failed unnoticed, and the transaction with it');
  return result;
}
