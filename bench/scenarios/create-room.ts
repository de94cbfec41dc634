/** 60 public rooms, 8 at once, each worker with an account of its own. */
import type { Scenario } from '../lib/bench.ts';
import { runLoad } from '../lib/load.ts';

const AT_ONCE = 8;

export const createRoom: Scenario = {
  name: 'create-room',
  async run(bench) {
    const accounts = await bench.fixtures.accounts(AT_ONCE);
    await bench.measure('createRoom', (record) =>
      runLoad(
        { operations: bench.scale(60), atOnce: AT_ONCE },
        async (index, worker) => {
          const account = accounts[worker] ?? (await bench.fixtures.account(0));
          await bench.api.createRoom(account, { preset: 'public_chat', name: `Room ${index}` });
        },
        record,
      ),
    );
  },
};
