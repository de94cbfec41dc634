/**
 * The ephemeral section of a room: who is typing, and who has read how far. Private receipts never come here but for the
 * reader's own, since what loads them leaves the others out.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#receipts
 */
import type { ReceiptRow } from '../storage/receipts.ts';

/** Writes the receipts of one room: one event per thread, since a user may have one in each for the same event. */
export function renderReceipts(receipts: readonly ReceiptRow[]): readonly string[] {
  const threads = Map.groupBy(withoutCovered(receipts), ({ threadId }) => threadId);
  return [...threads.values()].map((ofThread) => `{"type":"m.receipt","content":${renderContent(ofThread)}}`);
}

/** A user's unthreaded receipt for an event says all that threaded ones for it do, and clients keep one of them only. */
function withoutCovered(receipts: readonly ReceiptRow[]): readonly ReceiptRow[] {
  const keyOf = ({ eventId, type, userId }: ReceiptRow): string => JSON.stringify([eventId, type, userId]);
  const unthreaded = new Set(receipts.filter(({ threadId }) => threadId === undefined).map(keyOf));
  return receipts.filter((receipt) => receipt.threadId === undefined || !unthreaded.has(keyOf(receipt)));
}

function renderContent(receipts: readonly ReceiptRow[]): string {
  const byEvent = Map.groupBy(receipts, ({ eventId }) => eventId);
  return renderObject(byEvent, (ofEvent) =>
    renderObject(
      Map.groupBy(ofEvent, ({ type }) => type),
      (ofType) =>
        renderObject(
          Map.groupBy(ofType, ({ userId }) => userId),
          // Of several receipts of a user the newest counts.
          (ofUser) => renderReceipt(ofUser.at(-1)),
        ),
    ),
  );
}

function renderReceipt(receipt: ReceiptRow | undefined): string {
  return JSON.stringify({ ts: receipt?.ts, thread_id: receipt?.threadId });
}

// Keys come from users: text is built rather than objects, which would treat some keys specially.
function renderObject<K extends string, V>(map: ReadonlyMap<K, V>, render: (value: V) => string): string {
  return `{${[...map].map(([key, value]) => `${JSON.stringify(key)}:${render(value)}`).join(',')}}`;
}

export function renderTyping(userIds: readonly string[]): string {
  return `{"type":"m.typing","content":${JSON.stringify({ user_ids: userIds })}}`;
}
