/** What "nothing lost, nothing doubled" means for messages: each that was acknowledged is there once, and no other. */
import assert from 'node:assert/strict';
import type { Message } from '../support/matrix-client.ts';
import type { Attempt } from './senders.ts';

export function assertEachOnce(messages: readonly Message[], attempts: readonly Attempt[], where: string): void {
  const expected = new Map(attempts.map(({ body, eventId }) => [body, eventId]));
  const found = new Map(messages.map(({ body, eventId }) => [body, eventId]));
  const lost = attempts.filter(({ body, eventId }) => found.get(body) !== eventId).map(({ body }) => body);
  assert.deepEqual(lost, [], `lost: ${where}`);
  assert.deepEqual(
    messages.filter(({ body }) => !expected.has(body)).map(({ body }) => body),
    [],
    `never sent: ${where}`,
  );
  const counts = Map.groupBy(messages, ({ body }) => body);
  const doubled = [...counts].filter(([, copies]) => copies.length > 1).map(([body]) => body);
  assert.deepEqual(doubled, [], `doubled: ${where}`);
}
