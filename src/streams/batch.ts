/**
 * What one COMMIT brought: the very objects that were written, in the order of their positions, so that whoever follows
 * the streams reads nothing back from the database.
 */
import type { Positioned, StreamTable } from '../storage/stream-table.ts';

export interface CommittedBatch {
  readonly writerId: number;
  /** Positions in (from, to]. */
  readonly from: number;
  readonly to: number;
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
    rowsOf<Row>(table: StreamTable<Row>): readonly Positioned<Row>[] {
      // The map holds for each table the rows that its own `Fact<Row>` brought: the one place where that is known.
      return (tables.get(table as StreamTable<unknown>) ?? []) as readonly Positioned<Row>[];
    },
  };
}
