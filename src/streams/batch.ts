/**
 * What one COMMIT brought: the very objects that were written, in the order of their positions, so that whoever follows
 * the streams reads nothing back from the database.
 */
import type { Positioned, StreamTable } from '../storage/stream-table.ts';

export interface CommittedBatch {
  readonly writerId: number;
  /** Positions in (from, to]; some of them may have been left free. */
  readonly from: number;
  readonly to: number;
  /** How many facts it holds. */
  readonly size: number;
  rowsOf<Row>(table: StreamTable<Row>): readonly Positioned<Row>[];
}

interface BatchContents {
  readonly writerId: number;
  readonly from: number;
  readonly to: number;
  readonly tables: ReadonlyMap<StreamTable<unknown>, readonly Positioned<unknown>[]>;
}

export function createBatch(contents: BatchContents): CommittedBatch {
  const { writerId, from, to, tables } = contents;
  return {
    writerId,
    from,
    to,
    size: [...tables.values()].reduce((sum, rows) => sum + rows.length, 0),
    rowsOf<Row>(table: StreamTable<Row>): readonly Positioned<Row>[] {
      // The map holds for each table the rows that its own `Fact<Row>` brought: the one place where that is known.
      return (tables.get(table as StreamTable<unknown>) ?? []) as readonly Positioned<Row>[];
    },
  };
}
