/**
 * 30 members long-poll /sync with a filter on one room, while 150 messages are sent, one each 20 ms whether or not the
 * last one has been answered. Measured for each member and message: from the start of the send to its receipt.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Audience, type Listener, prepareListener, receiveAll, sendPaced } from '../lib/audience.ts';
import type { Scenario } from '../lib/bench.ts';
import { runLoad } from '../lib/load.ts';

const MEMBERS = 30;
/** Time for all long polls to arrive before the first message is sent. */
const SETTLE_MS = 500;

export const fanOut: Scenario = {
  name: 'fan-out',
  async run(bench) {
    const { api } = bench;
    const owner = await bench.fixtures.account(0);
    const members = (await bench.fixtures.accounts(MEMBERS + 1)).slice(1);
    const roomId = await api.createRoom(owner, { preset: 'public_chat', name: 'Fan-out' });
    const audience: Audience = { roomId, messages: bench.scale(150), sentAt: [] };
    const listeners: Listener[] = [];
    await runLoad({ operations: members.length, atOnce: 8 }, async (index) => {
      listeners.push(await prepareListener(api, members[index] ?? owner, { roomId }));
    });
    await bench.measure(`fan-out to ${MEMBERS}`, async (record) => {
      const receipts = listeners.map((listener) => receiveAll(listener, audience, record));
      await sleep(SETTLE_MS);
      await Promise.all([sendPaced(api, audience, owner), ...receipts]);
    });
  },
};
