/**
 * A stream: a table whose rows carry the position at which they were committed. The committer hands the rows of one
 * transaction to `insert`, which issues all its statements at once and waits for none of them in between.
 */
import type { Transaction } from './database.ts';

export interface Positioned<Row> {
  readonly writerId: number;
  readonly position: number;
  readonly row: Row;
}

export interface StreamTable<Row> {
  readonly name: string;
  insert(tx: Transaction, rows: readonly Positioned<Row>[]): Promise<unknown>;
}
