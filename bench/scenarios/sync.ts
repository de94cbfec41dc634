/**
 * /sync of an account in 100 rooms with 10 messages each: the first one ever, the same again, and with a current token
 * when there is nothing new (timeout 0, 8 at once).
 */
import type { Bench, Scenario } from '../lib/bench.ts';
import { BUSY_ROOMS } from '../lib/fixtures.ts';
import { runLoad } from '../lib/load.ts';

const REPEATS = 20;
const EMPTY_SYNCS = 2_000;

export const firstSync: Scenario = {
  name: 'first-sync',
  async run(bench) {
    await bench.fixtures.busyAccount();
    await bench.measure('first sync, cold', (record) =>
      runLoad({ operations: 1, atOnce: 1 }, () => sync(bench), record),
    );
    await bench.measure('first sync, again', (record) =>
      runLoad({ operations: bench.scale(REPEATS), atOnce: 1 }, () => sync(bench), record),
    );
  },
};

export const emptySync: Scenario = {
  name: 'empty-sync',
  async run(bench) {
    const account = await bench.fixtures.busyAccount();
    const since = await sync(bench);
    await bench.measure('empty sync', (record) =>
      runLoad(
        { operations: bench.scale(EMPTY_SYNCS), atOnce: 8 },
        () => bench.api.sync(account, { since, timeoutMs: 0 }),
        record,
      ),
    );
  },
};

async function sync(bench: Bench): Promise<string> {
  const { nextBatch, timelines } = await bench.api.sync(await bench.fixtures.busyAccount(), { timeoutMs: 0 });
  if (timelines.size === BUSY_ROOMS) return nextBatch;
  throw new Error(`first sync: ${timelines.size} rooms instead of ${BUSY_ROOMS}`);
}
