import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurnstile } from './turnstile.ts';

test('a few run, a few wait in order, the rest is turned away; failures hand their place on', async () => {
  const turnstile = createTurnstile({ maxRunning: 2, maxWaiting: 2 });
  const begun: number[] = [];
  const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  const results = gates.map(({ promise }, index) =>
    turnstile
      .run(async () => {
        begun.push(index);
        await promise;
        return index;
      })
      .catch(() => 'failed'),
  );
  assert.equal(await results[4], undefined);
  assert.deepEqual(begun, [0, 1]);
  gates[1]?.reject(new Error('broken'));
  assert.equal(await results[1], 'failed');
  gates[0]?.resolve();
  await results[0];
  assert.deepEqual(begun, [0, 1, 2, 3]);
  gates[2]?.resolve();
  gates[3]?.resolve();
  assert.deepEqual(await Promise.all(results), [0, 'failed', 2, 3, undefined]);
  assert.equal(await turnstile.run(async () => 'again'), 'again');
});

test('the lowest order goes first, and of one order whoever came first', async () => {
  const turnstile = createTurnstile({ maxRunning: 1, maxWaiting: 10 });
  const begun: number[] = [];
  const gate = Promise.withResolvers<void>();
  const first = turnstile.run(() => gate.promise);
  const rest = [2, 1, 2.5, 1.5, 1].map((order, index) =>
    turnstile.run(async () => {
      begun.push(index);
    }, Math.floor(order)),
  );
  gate.resolve();
  await Promise.all([first, ...rest]);
  assert.deepEqual(begun, [1, 3, 4, 0, 2]);
});
