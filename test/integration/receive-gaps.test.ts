/**
 * Events whose parents we lack: what is fetched, what of it is believed, and what becomes of the rest.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RemoteRooms } from '../../src/engine/ports.ts';
import type { Event } from '../../src/protocol/pdu.ts';
import { sql } from '../../src/storage/sql.ts';
import { ALICE, member, message, state } from '../support/engine.ts';
import { currentState } from '../support/receiver.ts';
import {
  createScene,
  EVE,
  extremitiesOf,
  MALLORY,
  remote,
  type Scene,
  storedAs,
  timelineOf,
} from '../support/remote-scene.ts';

const backwardExtremities = async ({ at }: Scene): Promise<readonly string[]> => {
  const rows = await at.db.database.query(sql<{ event_id: string }>`select event_id from backward_extremities`);
  return rows.map(({ event_id }) => event_id);
};

/** Answers as the remote server would, but that gaps have to be bridged by the state at their end. */
const withoutMissing = (answers: RemoteRooms): RemoteRooms => ({ ...answers, fetchMissingEvents: async () => [] });

test('a gap is filled by the events between, in their order', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const between = Array.from({ length: 30 }, (_, index) => room.message(EVE, `${index}`));
  const last = room.message(EVE, 'last');
  assert.deepEqual(await receive(last), ['dropped'], 'nobody answers');
  scene.answers = room.answers();
  assert.deepEqual(await receive(last), ['accepted']);
  assert.deepEqual(
    (await timelineOf(scene)).slice(-31),
    [...between, last].map(({ eventId }) => eventId),
  );
  assert.deepEqual(await extremitiesOf(scene), [last.eventId]);
  assert.deepEqual(await backwardExtremities(scene), []);
});

test('A7: of what fills a gap, one forged event is left out, and what needs it with it', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const [first, second] = [room.message(EVE, 'first'), room.message(EVE, 'second')];
  const answers = room.answers();
  const forged = { ...first.pdu, signatures: { [remote.name]: { 'ed25519:remote': 'AAAA' } } };
  scene.answers = {
    ...answers,
    fetchMissingEvents: async () => [forged, second.pdu],
    fetchEvent: async ({ eventId }) => (eventId === first.eventId ? forged : undefined),
  };
  assert.deepEqual(await receive(room.message(EVE, 'third')), ['dropped']);
  assert.equal(await storedAs(scene, first), undefined);
});

test('where what lies before is no event, the state there is not asked for; another server may still have it', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const missing = room.message(EVE, 'never well-formed');
  const answers = room.answers();
  const asked: string[] = [];
  scene.answers = {
    ...answers,
    fetchMissingEvents: async () => [{ ...missing.pdu, depth: 1.5 }],
    async fetchStateIds(request) {
      asked.push(request.eventId);
      return answers.fetchStateIds(request);
    },
  };
  const next = room.message(EVE, 'next');
  assert.deepEqual(await receive(next), ['dropped']);
  assert.deepEqual(asked, []);
  scene.answers = answers;
  assert.deepEqual(await receive(next), ['accepted']);
});

test('a server that gives few events has no more of them: it is asked once, and then for the state', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const [far, near] = [room.message(EVE, 'far'), room.message(EVE, 'near')];
  const answers = room.answers();
  const asked: string[] = [];
  scene.answers = {
    ...answers,
    async fetchMissingEvents({ latest }) {
      asked.push(`events before ${latest}`);
      return [near.pdu];
    },
    async fetchStateIds(request) {
      asked.push(`state at ${request.eventId}`);
      return answers.fetchStateIds(request);
    },
  };
  const last = room.message(EVE, 'last');
  assert.deepEqual(await receive(last), ['accepted']);
  assert.deepEqual(asked, [`events before ${last.eventId}`, `state at ${far.eventId}`]);
});

for (const version of ['1', '6', '11', '12']) {
  test(`a gap too long to fill is bridged by the state at its end, and closed later (version ${version})`, async () => {
    await using scene = await createScene(version);
    const { at, room, roomId, receive } = scene;
    const joined = room.member(MALLORY, 'join');
    const middle = room.message(MALLORY, 'in the gap');
    const last = room.message(MALLORY, 'after the gap');
    scene.answers = withoutMissing(room.answers());
    assert.deepEqual(await receive(last), ['accepted']);
    const joins = await currentState(at, roomId);
    assert.equal(joins.get(`m.room.member ${MALLORY}`), joined.eventId);
    assert.deepEqual(await backwardExtremities(scene), [middle.eventId]);
    const outlier = await storedAs(scene, middle);
    assert.equal(outlier?.outlier, true);
    // What was missing comes after all: it takes its place, and the room has gone on without it.
    const before = await extremitiesOf(scene);
    assert.deepEqual(await receive(joined, middle), ['accepted', 'accepted']);
    assert.deepEqual((await storedAs(scene, middle))?.outlier, false);
    assert.ok((await timelineOf(scene)).includes(middle.eventId));
    assert.deepEqual(await backwardExtremities(scene), []);
    assert.ok(before.every((id) => id !== middle.eventId));
    assert.deepEqual(await currentState(at, roomId), joins);
    const [healed] = await at.engine.send({ roomId, decide: () => [message('heals')] });
    assert.deepEqual(await extremitiesOf(scene), [healed?.eventId]);
  });
}

test('A10: a rejected event does not come into the state by the word of a peer', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const coup = room.make({ type: 'm.room.topic', sender: EVE, stateKey: '', content: { topic: 'coup' } });
  assert.match((await receive(coup))[0] ?? '', /^rejected/);
  room.message(EVE, 'in the gap');
  const last = room.message(EVE, 'after the gap');
  const answers = withoutMissing(room.answers());
  scene.answers = {
    ...answers,
    async fetchStateIds(request) {
      const ids = await answers.fetchStateIds(request);
      return { ...ids, stateIds: [...ids.stateIds, coup.eventId] };
    },
  };
  assert.deepEqual(await receive(last), ['accepted']);
  assert.equal((await currentState(at, roomId)).get('m.room.topic '), undefined);
  assert.deepEqual(await receive(room.message(EVE, 'goes on')), ['accepted']);
});

test('A26: a peer that leaves out most of the state does not take it away', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  await at.engine.send({
    roomId,
    decide: () => [member(MALLORY, 'ban', ALICE), state('m.room.power_levels', { users: { [EVE]: 0 }, ban: 75 })],
  });
  await room.learnFrom(at);
  const before = await currentState(at, roomId);
  room.message(EVE, 'in the gap');
  const last = room.message(EVE, 'after the gap');
  const answers = withoutMissing(room.answers());
  const create = [...room.events.values()].find(({ type }) => type === 'm.room.create');
  const eve = room.stateAfter(room.newest).get(`m.room.member\u0000${EVE}`);
  assert.ok(create && eve);
  scene.answers = {
    ...answers,
    async fetchStateIds(request) {
      const { authChainIds } = await answers.fetchStateIds(request);
      return { authChainIds, stateIds: [create.eventId, eve.eventId] };
    },
  };
  await receive(last);
  const after = await currentState(at, roomId);
  for (const key of [`m.room.member ${MALLORY}`, 'm.room.power_levels ', `m.room.member ${ALICE}`]) {
    assert.equal(after.get(key), before.get(key), key);
  }
});

test('A32: nothing that rests on an auth event which nobody gives is accepted', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const joined = room.member(MALLORY, 'join');
  const renamed = room.member(MALLORY, 'join', { content: { membership: 'join', displayname: 'M' } });
  const last = room.message(MALLORY, 'rests on the join');
  scene.answers = withoutMissing(room.answers(new Set([joined.eventId])));
  assert.deepEqual(await receive(last), ['dropped']);
  for (const event of [joined, renamed, last]) assert.equal(await storedAs(scene, event), undefined);
  assert.equal((await currentState(at, roomId)).get(`m.room.member ${MALLORY}`), undefined);
  scene.answers = withoutMissing(room.answers());
  assert.deepEqual(await receive(last), ['accepted']);
});

test('A11, B2: an answer about another room is no answer', async () => {
  await using scene = await createScene();
  await using other = await createScene();
  const { room, receive } = scene;
  const foreign = other.room.message(EVE, 'elsewhere');
  room.message(EVE, 'in the gap');
  const last = room.message(EVE, 'after the gap');
  scene.answers = {
    ...room.answers(),
    fetchMissingEvents: async () => [foreign.pdu],
    fetchEvent: async () => foreign.pdu,
    fetchStateIds: async () => ({ stateIds: [foreign.eventId], authChainIds: [] }),
  };
  assert.deepEqual(await receive(last), ['dropped']);
  assert.equal(await storedAs(scene, foreign), undefined);
});

test('a server that fails or talks nonsense costs its turn: the next one is asked', async () => {
  await using scene = await createScene();
  const { room, receive, receiving, roomId } = scene;
  const gap: Event[] = [room.message(EVE, 'in the gap')];
  const last = room.message(EVE, 'after the gap');
  const answers = room.answers();
  scene.answers = {
    ...answers,
    fetchMissingEvents: async (request) => {
      if (request.server !== remote.name) throw new Error('down');
      return answers.fetchMissingEvents(request);
    },
  };
  // The sender is another server, which relays; it does not answer.
  const relay = 'relay.example' as typeof remote.name;
  assert.deepEqual(await receiving.receive(roomId, relay, last), ['accepted']);
  assert.deepEqual(
    (await timelineOf(scene)).slice(-2),
    [...gap, last].map(({ eventId }) => eventId),
  );
  assert.deepEqual(await receive(last), ['known']);
});
