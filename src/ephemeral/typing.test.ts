import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../lib/clock.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import { createTyping, MAX_TYPING_MS } from './typing.ts';

const room = '!room:test' as RoomId;
const alice = '@alice:test' as UserId;
const bob = '@bob:test' as UserId;

function createFakeClock(): Clock & { advance(ms: number): void } {
  let now = 0;
  const timers = new Set<{ at: number; callback: () => void }>();
  return {
    now: () => now,
    monotonic: () => now,
    after(delay, callback) {
      const timer = { at: now + delay, callback };
      timers.add(timer);
      return { [Symbol.dispose]: () => timers.delete(timer) };
    },
    advance(ms) {
      now += ms;
      for (const timer of [...timers].filter(({ at }) => at <= now)) {
        timers.delete(timer);
        timer.callback();
      }
    },
  };
}

test('typing ends when its time is over, and readers hear of both', () => {
  const clock = createFakeClock();
  const typing = createTyping({ clock, boot: 'a' });
  const before = typing.position;
  typing.start(room, alice, 1000);
  assert.deepEqual(typing.getChanged(before), [room]);
  assert.deepEqual(typing.getTyping(room), [alice]);
  const during = typing.position;
  assert.deepEqual(typing.getChanged(during), []);
  clock.advance(999);
  assert.deepEqual(typing.getTyping(room), [alice]);
  clock.advance(1);
  assert.deepEqual(typing.getTyping(room), []);
  assert.deepEqual(typing.getChanged(during), [room]);
});

test('typing on prolongs the time without telling anyone', () => {
  const clock = createFakeClock();
  const typing = createTyping({ clock, boot: 'a' });
  let told = 0;
  typing.follow(() => {
    told += 1;
  });
  typing.start(room, alice, 1000);
  clock.advance(900);
  typing.start(room, alice, 1000);
  clock.advance(900);
  assert.deepEqual(typing.getTyping(room), [alice]);
  assert.equal(told, 1);
});

test('no time-out is longer than the bound', () => {
  const clock = createFakeClock();
  const typing = createTyping({ clock, boot: 'a' });
  typing.start(room, alice, 1e12);
  clock.advance(MAX_TYPING_MS);
  assert.deepEqual(typing.getTyping(room), []);
});

test('a reader from before a restart gets those who type now', () => {
  const typing = createTyping({ clock: createFakeClock(), boot: 'b' });
  typing.start(room, alice);
  typing.stop(room, alice);
  assert.deepEqual(typing.getChanged({ boot: 'a', serial: 99 }), []);
  typing.start(room, bob);
  assert.deepEqual(typing.getChanged({ boot: 'a', serial: 99 }), [room]);
  assert.deepEqual(typing.getChanged(undefined), [room]);
});

test('stopping twice is one change', () => {
  const typing = createTyping({ clock: createFakeClock(), boot: 'a' });
  typing.start(room, alice);
  typing.stop(room, alice);
  const { serial } = typing.position;
  typing.stop(room, alice);
  assert.equal(typing.position.serial, serial);
});
