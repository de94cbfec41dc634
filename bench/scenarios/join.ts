/** 160 joins to one public room, 8 at once. */
import type { Scenario } from '../lib/bench.ts';

export const join: Scenario = {
  name: 'join',
  async run(bench) {
    await bench.fixtures.crowd((joins) => bench.measure('join', joins));
  },
};
