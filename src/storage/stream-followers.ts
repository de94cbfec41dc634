/**
 * How far the followers of the streams have come. A follower writes its position in the transaction of what it made of
 * the stream, so that it goes on after a crash exactly where its rows end.
 */
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

/** Undefined for a follower that has never run. */
export async function loadFollowerPosition(tx: Transaction, follower: string): Promise<number | undefined> {
  const [row] = await tx.query(sql<{ position: number }>`
    select position from stream_followers where follower = ${follower}`);
  return row?.position;
}

export async function saveFollowerPosition(tx: Transaction, follower: string, position: number): Promise<void> {
  await tx.query(sql`
    insert into stream_followers (follower, position) values (${follower}, ${position})
    on conflict (follower) do update set position = excluded.position`);
}
