/** GET of the members and of the state of a room with 161 members, and of its last 100 of 400 messages; 4 at once. */
import type { Bench, Scenario } from '../lib/bench.ts';
import { runLoad } from '../lib/load.ts';

const AT_ONCE = 4;
const READS = 400;
const MESSAGES = 400;
const PAGE = 100;

export const members: Scenario = {
  name: 'members',
  async run(bench) {
    const { owner, roomId, memberCount } = await bench.fixtures.crowd();
    await measureReads(bench, { title: 'members', atLeast: memberCount }, () => bench.api.countMembers(owner, roomId));
  },
};

export const state: Scenario = {
  name: 'state',
  async run(bench) {
    const { owner, roomId, memberCount } = await bench.fixtures.crowd();
    await measureReads(bench, { title: 'state', atLeast: memberCount }, () => bench.api.countState(owner, roomId));
  },
};

export const messages: Scenario = {
  name: 'messages',
  async run(bench) {
    const owner = await bench.fixtures.account(0);
    const roomId = await bench.api.createRoom(owner, { preset: 'public_chat', name: 'Messages' });
    await runLoad({ operations: MESSAGES, atOnce: AT_ONCE }, (index) =>
      bench.api.sendMessage(owner, roomId, { txnId: `page-${index}`, body: `message ${index}` }),
    );
    await measureReads(bench, { title: 'messages', atLeast: PAGE }, () => bench.api.countMessages(owner, roomId));
  },
};

/** Measures `count`, which says how many events it got; fewer than expected would be a faster answer to less. */
async function measureReads(
  bench: Bench,
  { title, atLeast }: { title: string; atLeast: number },
  count: () => Promise<number>,
): Promise<void> {
  const checkedCount = async (): Promise<void> => {
    const found = await count();
    if (found < atLeast) throw new Error(`${title}: ${found} events instead of at least ${atLeast}`);
  };
  await bench.measure(title, (record) =>
    runLoad({ operations: bench.scale(READS), atOnce: AT_ONCE }, checkedCount, record),
  );
}
