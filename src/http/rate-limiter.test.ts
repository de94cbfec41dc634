import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import { createRateLimiter } from './rate-limiter.ts';

function manualClock(): Clock & { time: number } {
  return { time: 0, now: () => 0, monotonic: () => clock.time, after: () => ({ [Symbol.dispose]: () => undefined }) };
}
let clock = manualClock();

function waitOf(take: () => void): unknown {
  try {
    take();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof MatrixError);
    assert.equal(error.errcode, 'M_LIMIT_EXCEEDED');
    return error.fields['retry_after_ms'];
  }
}

test('a burst passes, then requests pass as the bucket refills', () => {
  clock = manualClock();
  const limiter = createRateLimiter({ clock, limits: { messages: { perSecond: 2, burst: 3 } } });
  const take = () => waitOf(() => limiter.take('messages', '@a:b'));
  assert.deepEqual([take(), take(), take(), take()], [undefined, undefined, undefined, 500]);
  clock.time += 499;
  assert.equal(take(), 1);
  clock.time += 1;
  assert.deepEqual([take(), take()], [undefined, 500]);
  clock.time += 3_600_000;
  assert.deepEqual([take(), take(), take(), take()], [undefined, undefined, undefined, 500]);
});

test('users, and families, do not share a bucket; families without a limit are free', () => {
  clock = manualClock();
  const limits = { messages: { perSecond: 1, burst: 1 }, joins: { perSecond: 1, burst: 1 } };
  const limiter = createRateLimiter({ clock, limits });
  limiter.take('messages', 'a');
  limiter.take('messages', 'b');
  limiter.take('joins', 'a');
  assert.equal(
    waitOf(() => limiter.take('messages', 'a')),
    1000,
  );
  for (let count = 0; count < 100; count++) limiter.take('invites', 'a');
});

test('check takes nothing', () => {
  clock = manualClock();
  const limiter = createRateLimiter({ clock, limits: { login_failed: { perSecond: 1, burst: 1 } } });
  limiter.check('login_failed', 'a');
  limiter.check('login_failed', 'a');
  limiter.take('login_failed', 'a');
  assert.equal(
    waitOf(() => limiter.check('login_failed', 'a')),
    1000,
  );
});

test('what costs more than a burst passes with a full bucket and leaves a debt', () => {
  clock = manualClock();
  const limiter = createRateLimiter({ clock, limits: { invites: { perSecond: 1, burst: 2 } } });
  limiter.take('invites', 'a', 5);
  assert.equal(
    waitOf(() => limiter.take('invites', 'a')),
    4000,
  );
});

test('memory is bounded', () => {
  clock = manualClock();
  const limiter = createRateLimiter({ clock, limits: { messages: { perSecond: 1, burst: 1 } }, maxBuckets: 2 });
  for (const key of ['a', 'b', 'c']) limiter.take('messages', key);
  assert.equal(
    waitOf(() => limiter.take('messages', 'c')),
    1000,
  );
  assert.equal(
    waitOf(() => limiter.take('messages', 'a')),
    undefined,
    'the oldest was forgotten',
  );
});

test('a limit that never refills does not say for ever', () => {
  clock = manualClock();
  const limiter = createRateLimiter({ clock, limits: { messages: { perSecond: 0, burst: 1 } } });
  limiter.take('messages', 'a');
  assert.equal(
    waitOf(() => limiter.take('messages', 'a')),
    86_400_000,
  );
});
