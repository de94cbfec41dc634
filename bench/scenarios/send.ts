/**
 * Messages: 3,000 by 16 senders each in a room of their own, 2,000 by 16 senders in one room, and 400 one after another.
 * Each sender sends one message beforehand, so that no room is measured while it is loaded.
 */
import type { Account } from '../lib/api.ts';
import type { Bench, Scenario } from '../lib/bench.ts';
import { runLoad } from '../lib/load.ts';

interface Sender {
  readonly account: Account;
  readonly roomId: string;
}

const SENDERS = 16;
const TEXT = 'The quick brown fox jumps over the lazy dog, and the dog does not mind.';

export const sendManyRooms: Scenario = {
  name: 'send-16',
  async run(bench) {
    const accounts = await bench.fixtures.accounts(SENDERS);
    const senders = await Promise.all(
      accounts.map(async (account) => ({ account, roomId: await createRoom(bench, account) })),
    );
    await sendMessages(bench, { title: 'send, 16 rooms', messages: 3_000, senders });
  },
};

export const sendOneRoom: Scenario = {
  name: 'send-1',
  async run(bench) {
    const [owner, ...others] = await bench.fixtures.accounts(SENDERS);
    if (owner === undefined) throw new Error('no accounts');
    const roomId = await createRoom(bench, owner);
    for (const account of others) await bench.api.join(account, roomId);
    const senders = [owner, ...others].map((account) => ({ account, roomId }));
    await sendMessages(bench, { title: 'send, 1 room', messages: 2_000, senders });
  },
};

export const sendSequential: Scenario = {
  name: 'send-seq',
  async run(bench) {
    const account = await bench.fixtures.account(0);
    const senders = [{ account, roomId: await createRoom(bench, account) }];
    await sendMessages(bench, { title: 'send, sequential', messages: 400, senders });
  },
};

async function sendMessages(
  bench: Bench,
  { title, messages, senders }: { title: string; messages: number; senders: readonly Sender[] },
): Promise<void> {
  // Transaction ids count for a device, and the same accounts send in several scenarios.
  const run = title.replaceAll(/\W+/g, '-');
  const send = async (index: number, worker: number): Promise<void> => {
    const sender = senders[worker];
    if (sender === undefined) throw new Error(`no sender ${worker}`);
    const message = { txnId: `${run}-${worker}-${index}`, body: `${index}: ${TEXT}` };
    await bench.api.sendMessage(sender.account, sender.roomId, message);
  };
  await Promise.all(senders.map((_, worker) => send(-1, worker)));
  await bench.measure(title, (record) =>
    runLoad({ operations: bench.scale(messages), atOnce: senders.length }, send, record),
  );
}

function createRoom(bench: Bench, owner: Account): Promise<string> {
  return bench.api.createRoom(owner, { preset: 'public_chat', name: 'Messages' });
}
