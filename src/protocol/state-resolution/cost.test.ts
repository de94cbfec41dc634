/**
 * What hostile rooms cost: counted in look-ups of events, which every walk is made of, and not in time.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EventId } from '../ids.ts';
import { getRoomVersion } from '../room-version.ts';
import { buildRoom, type EventSpec } from './fixtures.ts';
import { resolveState } from './index.ts';

const SIZE = 10_000;
const ANN = '@ann:a.example';
/** Look-ups per event and link of the graph: a handful of walks, each of which passes a link once or twice. */
const LOOKUPS_PER_LINK = 12;

describe('10,000 events', () => {
  for (const versionId of ['2', '11', '12']) {
    test(`in one long chain of power levels cost a bounded number of look-ups each (room version ${versionId})`, () => {
      check(versionId, { sets: [[`P${SIZE - 1}`], ['P0'], [`P${SIZE / 2}`]], specs: powerLevels(1) });
    });

    test(`that each cite the ten before them do so too (room version ${versionId})`, () => {
      check(versionId, { sets: [[`P${SIZE - 1}`], ['P9']], specs: powerLevels(10) });
    });

    test(`of topics under as many power levels do so too (room version ${versionId})`, () => {
      const specs = powerLevels(1, SIZE / 2);
      for (let index = 0; index < SIZE / 2; index++) {
        specs.set(`T${index}`, spec('m.room.topic', `topic ${index}`, ['CREATE', 'ANN', `P${index}`]));
      }
      const topics = Array.from({ length: SIZE / 2 }, (_, index) => `T${index}`);
      check(versionId, { sets: [[`P${SIZE / 2 - 1}`, ...topics], ['P0']], specs });
    });
  }
});

function check(
  versionId: string,
  { specs, sets }: { readonly specs: ReadonlyMap<string, EventSpec>; readonly sets: readonly (readonly string[])[] },
): void {
  const version = getRoomVersion(versionId);
  assert.ok(version);
  const room = buildRoom(specs, version);
  let lookups = 0;
  const events = (id: EventId) => {
    lookups++;
    return room.lookup(id);
  };
  const stateSets = sets.map((names) => room.stateOf(['CREATE', 'ANN', ...names]));
  const { conflicted } = resolveState({ version, stateSets, events });
  const links = specs.values().reduce((sum, { auth_events }) => sum + 1 + auth_events.length, 0);
  assert.ok(conflicted > SIZE / 2 - 10, `${conflicted} events were in conflict`);
  assert.ok(lookups <= LOOKUPS_PER_LINK * links, `${lookups} look-ups for ${links} links`);
}

/** A history of power levels in which each event cites the `width` before it. */
function powerLevels(width: number, size = SIZE): Map<string, EventSpec> {
  const specs = new Map<string, EventSpec>([
    ['CREATE', { ...spec('m.room.create', '', []), content: { creator: ANN } }],
    ['ANN', { ...spec('m.room.member', ANN, ['CREATE']), content: { membership: 'join' } }],
  ]);
  for (let index = 0; index < size; index++) {
    const behind = Array.from({ length: Math.min(width, index) }, (_, step) => `P${index - 1 - step}`);
    specs.set(`P${index}`, spec('m.room.power_levels', '', ['CREATE', 'ANN', ...behind]));
  }
  return specs;
}

function spec(type: string, state_key: string, auth_events: readonly string[]): EventSpec {
  return { type, state_key, sender: ANN, content: {}, auth_events, origin_server_ts: 1, depth: 1 };
}
