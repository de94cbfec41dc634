import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import type { UserId } from '../protocol/ids.ts';
import { accountDataStream } from '../storage/account-data.ts';
import { createBatch } from '../streams/batch.ts';
import { createHub } from '../streams/hub.ts';
import { createRecentChanges } from './recent-changes.ts';

function createStream() {
  const hub = createHub({
    onFollowerError: (cause) => {
      throw cause;
    },
  });
  let position = 10;
  return {
    hub,
    publish(count: number, content = '{}') {
      const from = position;
      const rows = Array.from({ length: count }, () => {
        position += 1;
        const row = { userId: '@a:test' as UserId, roomId: undefined, type: 't', content };
        return { writerId: 1, position, row };
      });
      hub.publish(createBatch({ writerId: 1, from, to: position, tables: new Map([[accountDataStream, rows]]) }));
    },
  };
}

test('everything after a position, as far as memory reaches', () => {
  const { hub, publish } = createStream();
  const recent = createRecentChanges({ hub, clock: systemClock, position: 10 });
  assert.deepEqual(recent.since(10), []);
  assert.equal(recent.since(9), undefined);
  publish(3);
  assert.deepEqual(
    recent.since(10)?.map(({ position }) => position),
    [11, 12, 13],
  );
  assert.deepEqual(
    recent.since(12)?.map(({ position }) => position),
    [13],
  );
  assert.deepEqual(recent.since(13), []);
  assert.equal(recent.position, 13);
});

test('memory is bounded, and knows what it forgot', () => {
  const { hub, publish } = createStream();
  const recent = createRecentChanges({ hub, clock: systemClock, position: 10, maxChanges: 100 });
  for (let batch = 0; batch < 50; batch++) publish(10);
  assert.equal(recent.since(10), undefined);
  const known = [];
  for (let from = 10; from <= recent.position; from++) if (recent.since(from) !== undefined) known.push(from);
  assert.ok(known.length >= 100 && known.length <= 130, `${known.length}`);
  for (const from of known) assert.equal(recent.since(from)?.length, recent.position - from);
});

test('large contents do not pile up', () => {
  const { hub, publish } = createStream();
  const recent = createRecentChanges({ hub, clock: systemClock, position: 10 });
  for (let batch = 0; batch < 300; batch++) publish(1, 'x'.repeat(65_536));
  assert.equal(recent.since(10), undefined);
  assert.equal(recent.since(recent.position - 1)?.length, 1);
});

test('a position that a query saw is waited for', async () => {
  const { hub, publish } = createStream();
  const recent = createRecentChanges({ hub, clock: systemClock, position: 10 });
  await recent.reach(10);
  let reached = false;
  const waiting = recent.reach(12).then(() => {
    reached = true;
  });
  publish(1);
  await Promise.resolve();
  assert.equal(reached, false);
  publish(1);
  await waiting;
  assert.equal(reached, true);
});
