/**
 * Events of other servers, one after another: what is dropped, rejected, soft-failed and accepted, and what of it anybody
 * gets to see.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createForkHealer } from '../../src/engine/heal-forks.ts';
import type { JsonValue, Pdu } from '../../src/protocol/pdu.ts';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import { ALICE, BOB, createPublicRoom, member, message, state, versionOf } from '../support/engine.ts';
import { currentState } from '../support/receiver.ts';
import { RemoteRoom } from '../support/remote-room.ts';
import { createScene, EVE, extremitiesOf, MALLORY, remote, storedAs, timelineOf } from '../support/remote-scene.ts';
import { createTestSync, joinedRoom } from '../support/sync.ts';

for (const version of ROOM_VERSIONS.keys()) {
  test(`a room of version ${version} takes in a line of events, and answers it`, async () => {
    await using scene = await createScene(version);
    const { at, room, roomId, receive } = scene;
    const events = [room.message(EVE, 'one'), room.message(EVE, 'two'), room.message(EVE, 'three')];
    assert.deepEqual(await receive(...events), ['accepted', 'accepted', 'accepted']);
    assert.deepEqual(await extremitiesOf(scene), [events[2]?.eventId]);
    const [sent] = await at.engine.send({ roomId, decide: () => [message('four')] });
    assert.deepEqual(await extremitiesOf(scene), [sent?.eventId]);
    await room.learnFrom(at);
    assert.deepEqual(await receive(room.message(EVE, 'five')), ['accepted']);
    assert.equal((await timelineOf(scene)).length, 11);
  });
}

test('A23: events of one transaction in any order and repeated are stored once, in the order of the graph', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const events = Array.from({ length: 20 }, (_, index) => room.message(EVE, `${index}`));
  const shuffled = [...events, ...events.slice(0, 5)].reverse();
  const outcomes = await receive(...shuffled);
  assert.equal(outcomes.filter((outcome) => outcome === 'accepted').length, 20);
  assert.equal(outcomes.filter((outcome) => outcome === 'known').length, 5);
  assert.deepEqual(
    (await timelineOf(scene)).slice(-20),
    events.map(({ eventId }) => eventId),
  );
  assert.deepEqual(
    await receive(...shuffled),
    shuffled.map(() => 'known'),
  );
});

test('A18, A21: what is no event of this room is dropped alone', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const bad: readonly JsonValue[] = [
    null,
    'x',
    {},
    [],
    { ...room.make({ type: 'm.x', sender: EVE }).pdu, depth: 2 ** 53 },
  ];
  const depths = [-1, 1.5, '1', 2 ** 63].map((depth) => ({ ...room.make({ type: 'm.x', sender: EVE }).pdu, depth }));
  const fine = room.message(EVE, 'fine');
  const outcomes = await receive(...bad, fine, ...depths);
  assert.deepEqual(
    outcomes.filter((outcome) => outcome !== 'dropped'),
    ['accepted'],
  );
  const otherRoom = { ...fine.pdu, room_id: `!${'x'.repeat(43)}` };
  assert.deepEqual(await receive(otherRoom), ['dropped']);
});

test("A5, A6: an event that its sender's server did not sign is dropped", async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const forged = room.make({ type: 'm.room.message', sender: ALICE, content: { body: 'I am Alice' } });
  const unsigned = room.make({ type: 'm.x', sender: EVE, forge: (pdu) => ({ ...pdu, signatures: {} }) });
  const changed = room.make({ type: 'm.x', sender: EVE, forge: (pdu) => ({ ...pdu, depth: pdu.depth + 1 }) });
  assert.deepEqual(await receive(forged, unsigned, changed), ['dropped', 'dropped', 'dropped']);
  for (const event of [forged, unsigned, changed]) assert.equal(await storedAs(scene, event), undefined);
});

test('an event whose content was changed on the way is kept without it', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const original = room.make({ type: 'm.room.message', sender: EVE, content: { body: 'said' } });
  const tampered: Pdu = { ...original.pdu, content: { body: 'put into her mouth' } };
  assert.deepEqual(await receive(tampered), ['accepted']);
  const stored = await at.engine.loadEvent(roomId, original.eventId);
  assert.deepEqual(stored?.event.content, {});
});

test('A9, A22: an event that its auth events do not allow is rejected, stored and never seen', async () => {
  await using scene = await createScene();
  const { room, receive } = scene;
  const power = room.stateAfter(room.newest).get('m.room.power_levels\u0000');
  const eve = room.stateAfter(room.newest).get(`m.room.member\u0000${EVE}`);
  assert.ok(power && eve);
  const chat = room.message(EVE, 'no state event');
  assert.deepEqual(await receive(chat), ['accepted']);
  const cases = [
    room.make({ type: 'm.room.message', sender: MALLORY }),
    room.make({ type: 'm.room.topic', sender: EVE, stateKey: '', content: { topic: 'mine' } }),
    room.make({ type: 'm.room.message', sender: EVE, auth: [power.eventId] }),
    room.make({ type: 'm.room.message', sender: EVE, auth: [power.eventId, eve.eventId, chat.eventId] }),
  ];
  const outcomes = await receive(...cases);
  assert.ok(
    outcomes.every((outcome) => outcome.startsWith('rejected v12:')),
    outcomes.join(),
  );
  for (const event of cases) {
    const stored = await storedAs(scene, event);
    assert.ok(stored?.rejection !== null && stored?.position === null && !stored.soft_failed);
    assert.ok(!(await timelineOf(scene)).includes(event.eventId));
  }
  assert.deepEqual(await extremitiesOf(scene), [chat.eventId]);
  // It is known as an ancestor: what follows it goes on from the state before it.
  for (const event of cases.slice(0, 1)) room.learn(event);
  assert.deepEqual(await receive(room.message(EVE, 'after', { prev: [cases[0]?.eventId ?? chat.eventId] })), [
    'accepted',
  ]);
});

test('A11: auth events of another room do not count, even as outliers that came first', async () => {
  await using scene = await createScene('10');
  const { at, room, receive } = scene;
  const otherId = await createPublicRoom(at, '10');
  const other = new RemoteRoom(remote, { roomId: otherId, version: versionOf('10') });
  await other.learnFrom(at);
  const joined = other.member(EVE, 'join');
  const [outcome] = await scene.receiving.receive(otherId, remote.name, joined);
  assert.equal(outcome, 'accepted');
  const auth = room.make({ type: 'm.x', sender: EVE }).authEvents;
  const own = room.stateAfter(room.newest).get(`m.room.member\u0000${EVE}`)?.eventId;
  const cited = auth.map((id) => (id === own ? joined.eventId : id));
  const [rejected] = await receive(room.make({ type: 'm.room.message', sender: EVE, auth: cited }));
  assert.match(rejected ?? '', /^rejected v10:/);
});

test('a second create event does not make the room another one', async () => {
  await using scene = await createScene('10');
  const { room, receive } = scene;
  const content = { room_version: '10', creator: EVE };
  const create = room.make({ type: 'm.room.create', sender: EVE, stateKey: '', content, prev: [], auth: [] });
  const [outcome] = await receive(create);
  assert.match(outcome ?? '', /^rejected/);
});

test("A29, A30: a banned user's event on an old branch is soft-failed: kept, unseen, no extremity", async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const branch = room.newest;
  await at.engine.send({ roomId, decide: () => [member(EVE, 'ban', ALICE)] });
  const evasion = room.message(EVE, 'still here', { prev: [branch] });
  const before = await currentState(at, roomId);
  assert.match((await receive(evasion))[0] ?? '', /^soft_failed v12:/);
  const stored = await storedAs(scene, evasion);
  assert.deepEqual(stored, { position: null, outlier: false, soft_failed: true, rejection: null });
  assert.ok(!(await timelineOf(scene)).includes(evasion.eventId));
  assert.equal((await extremitiesOf(scene)).length, 1);
  assert.deepEqual(await currentState(at, roomId), before);
  // Referenced by an event that is fine, it is an ancestor like any other, and the extremity that it followed is followed.
  await room.learnFrom(at);
  const [sent] = await at.engine.send({ roomId, decide: () => [message('goes on')] });
  assert.ok(sent);
});

test('C13: joins and messages of ours and a thousand events of others go on side by side', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const theirs = Array.from({ length: 20 }, () => Array.from({ length: 50 }, () => room.message(EVE, 'theirs')));
  const [outcomes, ours] = await Promise.all([
    Promise.all(theirs.map((events) => receive(...events))),
    Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        at.engine.send({ roomId, decide: () => [index % 10 === 0 ? member(BOB, 'join') : message('ours')] }),
      ),
    ),
  ]);
  assert.deepEqual([...new Set(outcomes.flat())], ['accepted']);
  assert.equal(ours.length, 100);
  const snapshot = await at.engine.loadSnapshot(roomId);
  assert.ok(snapshot);
  const range = { roomId, version: snapshot.version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 2_000 };
  const timeline = await at.engine.loadTimeline({ ...range, direction: 'forward' });
  const placed = new Set(timeline.map(({ event }) => event.eventId));
  assert.ok([...theirs.flat(), ...ours.flat()].every(({ eventId }) => placed.has(eventId)));
});

test('A25: nobody of ours in the room: nothing is applied, and nobody comes back', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  await at.engine.send({ roomId, decide: () => [member(ALICE, 'leave')] });
  await room.learnFrom(at);
  const before = await currentState(at, roomId);
  assert.deepEqual(await receive(room.message(EVE, 'anyone?'), room.member(EVE, 'leave')), ['dropped', 'dropped']);
  assert.deepEqual(await currentState(at, roomId), before);
});

test('A12: redactions are held until both are known, apply by rank or server, and never change the room version', async () => {
  await using scene = await createScene('11');
  const { at, room, roomId, receive } = scene;
  const [said] = await at.engine.send({ roomId, decide: () => [message('a secret')] });
  assert.ok(said);
  await room.learnFrom(at);
  const byStranger = room.add({ type: 'm.room.redaction', sender: EVE, redacts: said.eventId });
  const own = room.message(EVE, 'mine');
  const early = room.add({ type: 'm.room.redaction', sender: EVE, redacts: own.eventId });
  const later = room.make({ type: 'm.room.message', sender: EVE, content: { body: 'gone before it came' } });
  const ahead = room.add({ type: 'm.room.redaction', sender: EVE, redacts: later.eventId });
  assert.deepEqual(await receive(byStranger, own, early, ahead), ['accepted', 'accepted', 'accepted', 'accepted']);
  assert.equal((await at.engine.loadEvent(roomId, said.eventId))?.redactedBecause, undefined);
  assert.deepEqual((await at.engine.loadEvent(roomId, own.eventId))?.event.content, {});
  assert.deepEqual(await receive(later), ['accepted']);
  for (const engine of [at, await at.restart()]) {
    const stored = await engine.engine.loadEvent(roomId, later.eventId);
    assert.deepEqual(stored?.event.content, {});
    assert.equal(stored?.redactedBecause?.eventId, ahead.eventId);
    assert.equal((await engine.engine.loadSnapshot(roomId))?.version.id, '11');
  }
});

test('G: a fork of messages leaves the state alone and is healed by our next event', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const fork = room.newest;
  const [ours] = await at.engine.send({ roomId, decide: () => [message('ours')] });
  const theirs = room.message(EVE, 'theirs', { prev: [fork] });
  assert.deepEqual(await receive(theirs), ['accepted']);
  assert.deepEqual(new Set(await extremitiesOf(scene)), new Set([ours?.eventId, theirs.eventId]));
  const [healed] = await at.engine.send({ roomId, decide: () => [message('both')] });
  assert.deepEqual(await extremitiesOf(scene), [healed?.eventId]);
  assert.deepEqual(
    new Set((await at.engine.loadEvent(roomId, healed?.eventId ?? theirs.eventId))?.event.prevEvents),
    new Set([ours?.eventId, theirs.eventId]),
  );
});

test('C18: forward extremities that pile up are tied together by an event that nobody sees', async () => {
  await using scene = await createScene();
  const { at, room, roomId, receive } = scene;
  const onFailed = (cause: unknown) => assert.fail(String(cause));
  await using healer = createForkHealer({ engine: at.engine, hub: at.hub, serverName: at.serverName, onFailed });
  const fork = room.newest;
  const branches = Array.from({ length: 100 }, (_, index) => room.message(EVE, `${index}`, { prev: [fork] }));
  assert.deepEqual(new Set(await receive(...branches)), new Set(['accepted']));
  await healer.idle();
  assert.ok((await extremitiesOf(scene)).length <= 10);
  using client = createTestSync(at);
  const synced = await client.get(ALICE, { filter: { room: { timeline: { limit: 200 } } } });
  const shown = joinedRoom(synced, roomId)?.timeline.events ?? [];
  assert.equal(shown.filter(({ type }) => type === 'm.room.message').length, 100);
  assert.ok(shown.every(({ type }) => type !== 'org.matrix.dummy_event'));
});

for (const version of ['1', '2', '6', '11', '12']) {
  test(`a fork of state is resolved, in memory as in the database (version ${version})`, async () => {
    await using scene = await createScene(version);
    const { at, room, roomId, receive } = scene;
    const users = { [ALICE]: 100, [EVE]: 50 };
    await at.engine.send({
      roomId,
      decide: () => [state('m.room.power_levels', { users: version === '12' ? { [EVE]: 50 } : users })],
    });
    await room.learnFrom(at);
    const fork = room.newest;
    await at.engine.send({
      roomId,
      decide: () => [state('m.room.name', { name: 'ours' }), member(EVE, 'ban', ALICE)],
    });
    const theirs = [
      room.add({ type: 'm.room.topic', sender: EVE, stateKey: '', content: { topic: 'theirs' }, prev: [fork] }),
      room.member(MALLORY, 'join'),
    ];
    const outcomes = await receive(...theirs);
    assert.match(outcomes[0] ?? '', /^soft_failed/);
    assert.equal(outcomes[1], 'accepted');
    const resolved = await currentState(at, roomId);
    assert.equal(resolved.get(`m.room.member ${MALLORY}`), theirs[1]?.eventId);
    const snapshot = await at.engine.loadSnapshot(roomId);
    assert.equal(snapshot?.membershipOf(EVE), 'ban');
    assert.equal(snapshot?.joinedCount, 2);
    await at.engine.send({
      roomId,
      decide: () => [message('after the fork'), state('m.room.name', { name: 'again' })],
    });
    const settled = await currentState(at, roomId);
    const again = await at.restart();
    assert.deepEqual(await currentState(again, roomId), settled);
    const stored = (await again.engine.loadSnapshot(roomId))?.parts.stateNid;
    const whole = await again.engine.loadStateAt(roomId, stored ?? 0);
    assert.deepEqual(
      new Map(whole.map(({ type, stateKey, eventId }) => [`${type} ${stateKey}`, eventId])).size,
      settled.size,
    );
    assert.ok(whole.every(({ type, stateKey, eventId }) => settled.get(`${type} ${stateKey}`) === eventId));
  });
}
