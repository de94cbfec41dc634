/**
 * Messages at a steady pace into one room, and members who long-poll for them: how long each took to each member.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { at } from '../../test/support/json.ts';
import type { Account, Api } from './api.ts';
import type { Recorder } from './bench.ts';

export interface Audience {
  readonly roomId: string;
  readonly messages: number;
  /** When the send of each message started. */
  readonly sentAt: number[];
}

export interface Listener {
  readonly api: Api;
  readonly account: Account;
  readonly filter: string;
  readonly since: string;
}

const SEND_EVERY_MS = 20;
const POLL_TIMEOUT_MS = 30_000;
/** Polls in vain before a member counts as one that missed a message. */
const MAX_EMPTY_POLLS = 2;
const BODY = /^fan-out (\d+)$/;

/** Joins the room, and hears of nothing else. */
export async function prepareListener(api: Api, account: Account, room: { roomId: string; via?: string }) {
  const { roomId, via } = room;
  await api.join(account, roomId, via);
  const filter = await api.createFilter(account, {
    presence: { not_types: ['*'] },
    account_data: { not_types: ['*'] },
    // Enough that a slow server still delivers each message rather than a gap.
    room: { rooms: [roomId], timeline: { limit: 100 } },
  });
  const { nextBatch } = await api.sync(account, { filter, timeoutMs: 0 });
  return { api, account, filter, since: nextBatch } satisfies Listener;
}

/** Sends one each 20 ms whether or not the last one has been answered. */
export async function sendPaced(api: Api, audience: Audience, owner: Account): Promise<void> {
  const sends: Promise<string>[] = [];
  const start = performance.now();
  for (let index = 0; index < audience.messages; index++) {
    await sleep(Math.max(0, start + index * SEND_EVERY_MS - performance.now()));
    audience.sentAt[index] = performance.now();
    const message = { txnId: `fan-out-${index}`, body: `fan-out ${index}` };
    sends.push(api.sendMessage(owner, audience.roomId, message));
  }
  await Promise.all(sends);
}

/** Polls until all messages were received; throws where one does not come. */
export async function receiveAll(listener: Listener, audience: Audience, record: Recorder): Promise<void> {
  const { api, account, filter } = listener;
  const seen = new Set<number>();
  let since = listener.since;
  let emptyPolls = 0;
  while (seen.size < audience.messages) {
    const { nextBatch, timelines } = await api.sync(account, { since, filter, timeoutMs: POLL_TIMEOUT_MS });
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
