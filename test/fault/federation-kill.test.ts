/**
 * SIGKILL of one of two servers, or of both, while their users talk in shared rooms, join new ones and catch up with what
 * they missed, several times over the same data. Whatever was acknowledged is on both once, a join that was cut off is
 * repeated, and both servers end with the same events and the same state. What happens when comes from a seed.
 *
 *   node test/fault/federation-kill.test.ts [--rounds 30] [--seed 4711]
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createTestAuthority } from '../support/certificates.ts';
import { type Chance, createChance } from '../support/chance.ts';
import { type FederatingProcess, startFederatingProcess } from '../support/federating-process.ts';
import { MatrixClient } from '../support/matrix-client.ts';
import { assertEachOnce } from './each-once.ts';
import { Follower } from './follower.ts';
import { countAnswered, retryUnanswered, type Sender, sendUntilFailure } from './senders.ts';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string' }, seed: { type: 'string' } },
  strict: false,
});
const ROUNDS = Number(options.rounds ?? (process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 1 : 30));
const SEED = Number(options.seed ?? Date.now() % 1_000_000);
const SENDERS_PER_SIDE = 4;
/** Acknowledged messages before a kill, so that there is something to lose. */
const MIN_ANSWERED = 30;
/** Kills come at another moment of the load each round, and again at another of catching up. */
const KILL_SPREAD_MS = 1_200;
/** What a join takes under this load, now and then twice that. */
const JOIN_SPREAD_MS = 1_200;
/** How long the one goes on while the other is away: up to some hundreds of messages. */
const ALONE_SPREAD_MS = 1_500;
/** Only a test that fails waits for so long: whoever was away is tried again within seconds. */
const SETTLE_TIMEOUT_MS = 60_000;
const POLL_MS = 200;

interface Side {
  readonly server: FederatingProcess;
  readonly observer: MatrixClient;
  readonly senders: readonly Sender[];
  readonly follower: Follower;
}

type Sides = readonly [Side, Side];

test(`L9: two servers lose, double and split nothing over ${ROUNDS} rounds of kills (seed ${SEED})`, {
  timeout: 60_000 + ROUNDS * 120_000,
}, async (t) => {
  await using authority = await createTestAuthority();
  await using stack = new AsyncDisposableStack();
  const start = async () => stack.use(await startFederatingProcess(authority));
  const [a, b] = await Promise.all([start(), start()]);
  const { sides, rooms } = await populate(a, b);
  const senders = sides.flatMap((side) => side.senders);
  const chance = createChance(SEED);
  let repeated = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const join = await prepareJoin(sides, round);
    const isJoined = await killUnderLoad(sides, { round, chance, join: join.attempt });
    await killWhileCatchingUp(sides, chance);
    await Promise.all(senders.map(retryUnanswered));
    if (!isJoined) {
      await join.attempt();
      repeated += 1;
    }
    rooms.push(join.roomId);
    await join.joiner.send(join.roomId, 'hello', `${join.joiner.userId} is here`);
    for (const { senders: own } of sides) await Promise.all(own.map((sender) => sendOnce(sender, `after${round}`)));
    await assertSettled(sides, [...rooms]);
    await assertNothingLost(sides, rooms.slice(0, 2), round);
  }
  t.diagnostic(`${countAnswered(senders)} messages acknowledged: 0 lost, 0 doubled; ${repeated} joins repeated`);
});

/** Two rooms, one made by each side, with all senders of both in them. */
async function populate(a: FederatingProcess, b: FederatingProcess): Promise<{ sides: Sides; rooms: string[] }> {
  const [alice, bob] = await Promise.all([a, b].map(({ process }) => MatrixClient.register(process.url, 'observer')));
  assert.ok(alice && bob);
  const rooms = [await alice.createRoom({ preset: 'public_chat' }), await bob.createRoom({ preset: 'public_chat' })];
  await bob.join(rooms[0] ?? '', a.serverName);
  await alice.join(rooms[1] ?? '', b.serverName);
  const createSide = async (server: FederatingProcess, observer: MatrixClient): Promise<Side> => {
    const senders: Sender[] = [];
    for (let index = 0; index < SENDERS_PER_SIDE; index++) {
      const client = await MatrixClient.register(server.process.url, `sender${index}`);
      const roomId = rooms[index % rooms.length] ?? '';
      await client.join(roomId);
      senders.push({ client, roomId, attempts: [] });
    }
    const { nextBatch } = await observer.sync();
    return { server, observer, senders, follower: new Follower(observer, nextBatch, 20) };
  };
  return { sides: [await createSide(a, alice), await createSide(b, bob)], rooms };
}

/** A new room with some history on one side, and a user of the other who is about to join it. */
async function prepareJoin(sides: Sides, round: number) {
  const [host, guest] = round % 2 === 0 ? sides : [sides[1], sides[0]];
  const roomId = await host.observer.createRoom({ preset: 'public_chat' });
  for (let index = 0; index < 5; index++) {
    await host.observer.setTopic(roomId, `topic ${index}`);
    await host.observer.send(roomId, `${index}`, `before the join ${index}`);
  }
  const joiner = guest.observer;
  return { roomId, joiner, attempt: () => joiner.join(roomId, host.server.serverName) };
}

/** Whether the join was acknowledged. */
async function killUnderLoad(
  sides: Sides,
  { round, chance, join }: { round: number; chance: Chance; join: () => Promise<void> },
): Promise<boolean> {
  const senders = sides.flatMap((side) => side.senders);
  const before = countAnswered(senders);
  let isOver = false;
  const sending = senders.map((sender) => sendUntilFailure(sender, round, () => isOver));
  while (countAnswered(senders) < before + MIN_ANSWERED) await sleep(5);
  const killing = chance(KILL_SPREAD_MS);
  // Begun shortly before, the handshake is cut off as often as not.
  const joining = sleep(Math.max(0, killing - chance(JOIN_SPREAD_MS))).then(() =>
    join().then(
      () => true,
      () => false,
    ),
  );
  await sleep(killing);
  const victims = victimsOf(sides, chance);
  await Promise.all(victims.map(({ server }) => server.process.kill()));
  await sleep(chance(ALONE_SPREAD_MS));
  isOver = true;
  await Promise.all(sending);
  await Promise.all(victims.map(({ server }) => server.process.start()));
  return joining;
}

function victimsOf(sides: Sides, chance: Chance): readonly Side[] {
  const drawn = chance(5);
  return drawn < 2 ? [sides[0]] : drawn < 4 ? [sides[1]] : sides;
}

/** Each side says something, so that the other knows that it is there; then one dies again before all has come through. */
async function killWhileCatchingUp(sides: Sides, chance: Chance): Promise<void> {
  const [victim = sides[0]] = victimsOf(sides, chance);
  const speaking = Promise.allSettled(sides.flatMap(({ senders }) => senders.map(retryUnanswered)));
  await sleep(chance(KILL_SPREAD_MS));
  await victim.server.process.kill();
  await speaking;
  await victim.server.process.start();
}

async function sendOnce(sender: Sender, txnId: string): Promise<void> {
  const { client, roomId } = sender;
  const body = `${client.userId} ${txnId}`;
  sender.attempts.push({ roomId, txnId, body, eventId: await client.send(roomId, txnId, body) });
}

/** Both have the same events and the same state of every room, after some time. */
async function assertSettled([a, b]: Sides, rooms: readonly string[]): Promise<void> {
  const look = async ({ observer }: Side, roomId: string) => ({
    events: (await observer.listEventIds(roomId)).sort(),
    state: await observer.listStateIds(roomId),
  });
  const deadline = Date.now() + SETTLE_TIMEOUT_MS;
  for (const roomId of rooms) {
    let [here, there] = await Promise.all([look(a, roomId), look(b, roomId)]);
    while (JSON.stringify(here) !== JSON.stringify(there) && Date.now() < deadline) {
      await sleep(POLL_MS);
      [here, there] = await Promise.all([look(a, roomId), look(b, roomId)]);
    }
    assert.deepEqual(there, here, `room ${roomId}`);
    assert.deepEqual(new Set(here.events).size, here.events.length, `an event of ${roomId} twice`);
  }
}

async function assertNothingLost(sides: Sides, rooms: readonly string[], round: number): Promise<void> {
  const senders = sides.flatMap((side) => side.senders);
  for (const { observer, follower } of sides) {
    await follower.catchUp();
    for (const roomId of rooms) {
      const attempts = senders.flatMap((sender) => sender.attempts).filter((attempt) => attempt.roomId === roomId);
      const where = `of ${observer.userId} in round ${round}`;
      assertEachOnce(await observer.listMessagesBackward(roomId), attempts, `/messages ${where}`);
      assertEachOnce(follower.messages(roomId), attempts, `/sync ${where}`);
    }
  }
}
