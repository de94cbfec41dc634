/**
 * 30 members long-poll /sync with a filter on one room, while 150 messages are sent, one each 20 ms whether or not the
 * last one has been answered. Measured for each member and message: from the start of the send to its receipt.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { at } from '../../test/support/json.ts';
import type { Account } from '../lib/api.ts';
import type { Bench, Recorder, Scenario } from '../lib/bench.ts';
import { runLoad } from '../lib/load.ts';

interface Audience {
  readonly roomId: string;
  readonly messages: number;
  /** When the send of each message started. */
  readonly sentAt: number[];
}

interface Listener {
  readonly account: Account;
  readonly filter: string;
  readonly since: string;
}

const MEMBERS = 30;
const SEND_EVERY_MS = 20;
const POLL_TIMEOUT_MS = 30_000;
/** Time for all long polls to arrive before the first message is sent. */
const SETTLE_MS = 500;
/** Polls in vain before a member counts as one that missed a message. */
const MAX_EMPTY_POLLS = 2;
const BODY = /^fan-out (\d+)$/;

export const fanOut: Scenario = {
  name: 'fan-out',
  async run(bench) {
    const owner = await bench.fixtures.account(0);
    const members = (await bench.fixtures.accounts(MEMBERS + 1)).slice(1);
    const roomId = await bench.api.createRoom(owner, { preset: 'public_chat', name: 'Fan-out' });
    const audience: Audience = { roomId, messages: bench.scale(150), sentAt: [] };
    const listeners: Listener[] = [];
    await runLoad({ operations: members.length, atOnce: 8 }, async (index) => {
      listeners.push(await prepare(bench, roomId, members[index] ?? owner));
    });
    await bench.measure(`fan-out to ${MEMBERS}`, async (record) => {
      const receipts = listeners.map((listener) => receive(bench, audience, listener, record));
      await sleep(SETTLE_MS);
      await Promise.all([sendPaced(bench, audience, owner), ...receipts]);
    });
  },
};

async function prepare(bench: Bench, roomId: string, account: Account): Promise<Listener> {
  await bench.api.join(account, roomId);
  const filter = await bench.api.createFilter(account, {
    presence: { not_types: ['*'] },
    account_data: { not_types: ['*'] },
    // Enough that a slow server still delivers each message rather than a gap.
    room: { rooms: [roomId], timeline: { limit: 100 } },
  });
  const { nextBatch } = await bench.api.sync(account, { filter, timeoutMs: 0 });
  return { account, filter, since: nextBatch };
}

async function sendPaced(bench: Bench, audience: Audience, owner: Account): Promise<void> {
  const sends: Promise<string>[] = [];
  const start = performance.now();
  for (let index = 0; index < audience.messages; index++) {
    await sleep(Math.max(0, start + index * SEND_EVERY_MS - performance.now()));
    audience.sentAt[index] = performance.now();
    const message = { txnId: `fan-out-${index}`, body: `fan-out ${index}` };
    sends.push(bench.api.sendMessage(owner, audience.roomId, message));
  }
  await Promise.all(sends);
}

async function receive(bench: Bench, audience: Audience, listener: Listener, record: Recorder): Promise<void> {
  const { account, filter } = listener;
  const seen = new Set<number>();
  let since = listener.since;
  let emptyPolls = 0;
  while (seen.size < audience.messages) {
    const { nextBatch, timelines } = await bench.api.sync(account, { since, filter, timeoutMs: POLL_TIMEOUT_MS });
    const now = performance.now();
    since = nextBatch;
    const before = seen.size;
    for (const event of timelines.get(audience.roomId) ?? []) {
      const index = readIndex(event);
      if (index === undefined || seen.has(index)) continue;
      seen.add(index);
      record(now - (audience.sentAt[index] ?? now));
    }
    emptyPolls = seen.size === before && timelines.size === 0 ? emptyPolls + 1 : 0;
    if (emptyPolls > MAX_EMPTY_POLLS)
      throw new Error(`${account.userId} got ${seen.size} of ${audience.messages} messages`);
  }
}

function readIndex(event: unknown): number | undefined {
  const match = BODY.exec(String(at(event, 'content', 'body')));
  return match === null ? undefined : Number(match[1]);
}
