/**
 * What storage functions run against: a transaction, or the pool itself for a single statement. They take it first, so
 * that what must be atomic is visible where they are called.
 */
import type { Statement } from './sql.ts';

export interface Transaction {
  query<Row>(statement: Statement<Row>): Promise<readonly Row[]>;
}

export interface Database extends Transaction {
  /** Runs `work` in one transaction: committed when it returns, rolled back when it throws. */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
}
