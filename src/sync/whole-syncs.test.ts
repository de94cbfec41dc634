import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestClock } from '../../test/support/test-clock.ts';
import { createWholeSyncs } from './whole-syncs.ts';

const OPEN = 6;

test('six answers are made at once, those who asked first before the others', async () => {
  const wholeSyncs = createWholeSyncs({ clock: createTestClock() });
  const { signal } = new AbortController();
  const first = await Promise.all(Array.from({ length: OPEN }, () => wholeSyncs.begin(signal)));
  const begun: number[] = [];
  const later = [0, 1].map((index) =>
    wholeSyncs.begin(signal).then((sync) => {
      begun.push(index);
      return sync;
    }),
  );
  await first[3]?.turn(async () => undefined);
  assert.deepEqual(begun, []);
  first[3]?.[Symbol.dispose]();
  await later[0];
  assert.deepEqual(begun, [0]);
  first[0]?.[Symbol.dispose]();
  first[0]?.[Symbol.dispose]();
  await later[1];
  assert.deepEqual(begun, [0, 1]);
});

test('a client that takes in nothing holds up nobody, and may go on later', async () => {
  const clock = createTestClock();
  const wholeSyncs = createWholeSyncs({ clock });
  const { signal } = new AbortController();
  const slow = await Promise.all(Array.from({ length: OPEN }, () => wholeSyncs.begin(signal)));
  for (const one of slow) await one.turn(async () => undefined);
  const next = wholeSyncs.begin(signal);
  clock.advance(3_000);
  assert.equal(await (await next).turn(async () => 'made'), 'made');
  assert.equal(await slow[0]?.turn(async () => 'made later'), 'made later');
});

test('nothing is made for a client that is gone', async () => {
  const wholeSyncs = createWholeSyncs({ clock: createTestClock() });
  const controller = new AbortController();
  const one = await wholeSyncs.begin(controller.signal);
  controller.abort();
  await assert.rejects(
    one.turn(async () => undefined),
    { status: 503 },
  );
});
