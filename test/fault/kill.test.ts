/**
 * SIGKILL of the server and its PostgreSQL under 16 senders, several times over the same data. Whatever was
 * acknowledged is there once, a retried transaction gives one event, and a sync from an old token has no gap and no
 * repeat.
 *
 *   node test/fault/kill.test.ts [--rounds 20]
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { MatrixClient } from '../support/matrix-client.ts';
import { type ServerProcess, startServer } from '../support/server-process.ts';
import { assertEachOnce } from './each-once.ts';
import { Follower } from './follower.ts';
import { countAnswered, retryUnanswered, type Sender, sendUntilFailure } from './senders.ts';

const { values: options } = parseArgs({ options: { rounds: { type: 'string' } }, strict: false });
const ROUNDS = Number(options.rounds ?? (process.env['HAMMERHEAD_LONG_TESTS'] === '1' ? 20 : 3));
const ROOMS = 4;
const SENDERS = 16;
/** Acknowledged messages before a kill, so that there is something to lose. */
const MIN_ANSWERED = 60;
/** Kills come at another moment of the load each round. */
const KILL_SPREAD_MS = 97;

test(`nothing acknowledged is lost or doubled over ${ROUNDS} kills`, {
  timeout: 60_000 + ROUNDS * 60_000,
}, async (t) => {
  await using server = await startServer();
  const { rooms, senders, observer } = await populate(server);
  for (let round = 0; round < ROUNDS; round++) {
    const { nextBatch } = await observer.sync();
    const live = new Follower(observer, nextBatch, 20);
    await killUnderLoad(server, { senders, live, round });
    await server.start();
    for (const sender of senders) await retryUnanswered(sender);
    await live.catchUp();
    const late = new Follower(observer, nextBatch, 20);
    await late.catchUp();

    await assertRetriesGiveTheSameEvent(senders);
    for (const roomId of rooms) {
      const attempts = senders.flatMap((sender) => sender.attempts).filter((attempt) => attempt.roomId === roomId);
      assertEachOnce(await observer.listMessagesBackward(roomId), attempts, `/messages in round ${round}`);
      const ofRound = attempts.filter(({ txnId }) => txnId.startsWith(`round${round}-`));
      assertEachOnce(live.messages(roomId), ofRound, `live sync in round ${round}`);
      assert.deepEqual(late.messages(roomId), live.messages(roomId), `sync from the old token in round ${round}`);
    }
  }
  t.diagnostic(`${countAnswered(senders)} messages acknowledged: 0 lost, 0 doubled`);
});

async function populate(server: ServerProcess) {
  const observer = await MatrixClient.register(server.url, 'observer');
  const rooms: string[] = [];
  for (let index = 0; index < ROOMS; index++) rooms.push(await observer.createRoom({ preset: 'public_chat' }));
  const senders: Sender[] = [];
  for (let index = 0; index < SENDERS; index++) {
    const client = await MatrixClient.register(server.url, `sender${index}`);
    const roomId = rooms[index % ROOMS] ?? '';
    await client.join(roomId);
    senders.push({ client, roomId, attempts: [] });
  }
  return { rooms, senders, observer };
}

async function killUnderLoad(
  server: ServerProcess,
  { senders, live, round }: { senders: readonly Sender[]; live: Follower; round: number },
): Promise<void> {
  const before = countAnswered(senders);
  const failures = senders.map((sender) => sendUntilFailure(sender, round));
  const following = live.followUntilFailure(1_000);
  while (countAnswered(senders) < before + MIN_ANSWERED) await sleep(10);
  await sleep((round * KILL_SPREAD_MS) % 1_000);
  await server.kill();
  await Promise.all([...failures, following]);
}

/** Each sender's last two transactions: the one retried just now, and one acknowledged before the kill. */
async function assertRetriesGiveTheSameEvent(senders: readonly Sender[]): Promise<void> {
  for (const { client, attempts } of senders) {
    for (const { roomId, txnId, body, eventId } of attempts.slice(-2)) {
      assert.equal(await client.send(roomId, txnId, body), eventId, `retry of ${txnId} by ${client.userId}`);
    }
  }
}
