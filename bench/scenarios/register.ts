/** 40 accounts, 8 at once, password hashing included. */
import type { Scenario } from '../lib/bench.ts';

export const register: Scenario = {
  name: 'register',
  run: (bench) => bench.measure('register', (record) => bench.fixtures.registerAccounts(bench.scale(40), record)),
};
