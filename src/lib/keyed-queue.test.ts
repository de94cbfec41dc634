import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KeyedQueue } from './keyed-queue.ts';

describe('KeyedQueue', () => {
  test('runs the work of one key in order and one at a time', async () => {
    const queue = new KeyedQueue<string>();
    const log: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = queue.run('a', async () => {
      log.push('first starts');
      await gate.promise;
      log.push('first ends');
      return 1;
    });
    const second = queue.run('a', () => {
      log.push('second');
      return 2;
    });
    await queue.run('b', () => log.push('other key'));
    gate.resolve();
    assert.deepEqual(await Promise.all([first, second]), [1, 2]);
    assert.deepEqual(log, ['first starts', 'other key', 'first ends', 'second']);
  });

  test('C10: a thousand who wait for one key have their turn in order, and nothing else', async () => {
    const queue = new KeyedQueue<string>();
    let running = 0;
    const turns: number[] = [];
    const all = Array.from({ length: 1_000 }, (_, index) =>
      queue.run('a', async () => {
        running += 1;
        assert.equal(running, 1);
        await Promise.resolve();
        turns.push(index);
        running -= 1;
      }),
    );
    await Promise.all(all);
    assert.deepEqual(
      turns,
      all.map((_, index) => index),
    );
  });

  test('goes on after work that failed', async () => {
    const queue = new KeyedQueue<string>();
    const failing = queue.run('a', () => Promise.reject(new Error('no')));
    const throwing = queue.run('a', () => {
      throw new Error('not either');
    });
    const after = queue.run('a', () => 'done');
    await assert.rejects(failing, /no/);
    await assert.rejects(throwing, /not either/);
    assert.equal(await after, 'done');
  });

  test('forgets keys that are idle', async () => {
    const queue = new KeyedQueue<number>();
    const gate = Promise.withResolvers<void>();
    const work = Array.from({ length: 1000 }, (_, key) => queue.run(key % 10, () => gate.promise));
    assert.equal(queue.size, 10);
    gate.resolve();
    await Promise.all(work);
    await queue.idle();
    assert.equal(queue.size, 0);
  });

  test('keeps a key in order while work of it waits', async () => {
    const queue = new KeyedQueue<string>();
    const gate = Promise.withResolvers<void>();
    const log: string[] = [];
    const first = queue.run('a', () => log.push('first'));
    const second = queue.run('a', async () => {
      await gate.promise;
      log.push('second');
    });
    await first;
    await new Promise(setImmediate);
    const third = queue.run('a', () => log.push('third'));
    await new Promise(setImmediate);
    gate.resolve();
    await Promise.all([second, third]);
    assert.deepEqual(log, ['first', 'second', 'third']);
  });
});
