/**
 * What a hostile auth graph costs the process: its resolution runs beside the event loop, and comes to the same.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import { buildRoom, type EventSpec, idOf } from '../protocol/state-resolution/fixtures.ts';
import { createResolutionRunner } from './resolution-runner.ts';
import { type ResolutionWork, runResolution } from './resolution-work.ts';

const SIZE = 10_000;
const ANN = '@ann:a.example';

/** Power levels that each cite the ten before them: the dearest graph that events may form. */
function hostileWork(): ResolutionWork {
  const version = getRoomVersion('11');
  assert.ok(version);
  const specs = new Map<string, EventSpec>();
  const add = (
    name: string,
    spec: Pick<EventSpec, 'type' | 'content' | 'auth_events'> & { state_key?: string },
  ): void => {
    specs.set(name, { state_key: '', sender: ANN, origin_server_ts: specs.size, depth: specs.size, ...spec });
  };
  add('CREATE', { type: 'm.room.create', content: { creator: ANN }, auth_events: [] });
  add('ANN', { type: 'm.room.member', state_key: ANN, content: { membership: 'join' }, auth_events: ['CREATE'] });
  for (let index = 0; index < SIZE; index++) {
    const before = Array.from({ length: Math.min(index, 8) }, (_, back) => `P${index - 1 - back}`);
    const content = { users: { [ANN]: 100 }, events_default: index % 50 };
    add(`P${index}`, { type: 'm.room.power_levels', content, auth_events: ['CREATE', 'ANN', ...before] });
  }
  const { lookup, stateOf } = buildRoom(specs, version);
  const events = [...specs.keys()]
    .map((name) => lookup(idOf(name)))
    .filter((event): event is Event => event !== undefined);
  const difference: EventId[] = Array.from({ length: SIZE - 1 }, (_, index) => idOf(`P${index + 1}`));
  return {
    versionId: '11',
    stateSets: [`P${SIZE - 1}`, 'P0'].map((name) => [...stateOf(['CREATE', 'ANN', name])]),
    events,
    rejectedIds: [],
    authDifference: difference,
  };
}

test('C1: 10,000 events of a hostile auth graph are resolved in a thread, while the event loop turns', async () => {
  const work = hostileWork();
  await using runner = createResolutionRunner();
  let turns = 0;
  let done = false;
  const turn = (): void => {
    turns += 1;
    if (!done) setImmediate(turn);
  };
  const resolved = runner.run(work);
  setImmediate(turn);
  const resolution = await resolved;
  done = true;
  assert.ok(turns > 10, `${turns} turns`);
  assert.deepEqual(new Map(resolution), new Map(runResolution(work)));
});

test('a thread that died is replaced, and a small resolution needs none', async () => {
  const work = hostileWork();
  await using runner = createResolutionRunner(10);
  await assert.rejects(runner.run({ ...work, versionId: 'no such version' }));
  assert.equal((await runner.run(work)).size, 3);
  await using inline = createResolutionRunner(1_000_000);
  assert.equal((await inline.run({ ...work, events: work.events.slice(0, 3), authDifference: [] })).size >= 2, true);
});
