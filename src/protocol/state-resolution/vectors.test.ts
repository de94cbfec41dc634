/**
 * The cases of test/vectors/state-resolution, each with its state sets in several orders.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { getRoomVersion } from '../room-version.ts';
import { buildRoom, type EventSpec, idOf } from './fixtures.ts';
import { resolveState } from './index.ts';

interface Vector {
  readonly name: string;
  readonly events: Readonly<Record<string, EventSpec>>;
  readonly state_sets: readonly (readonly string[])[];
  /** Events that were rejected, and events that the lookup does not hold. */
  readonly rejected?: readonly string[];
  readonly missing?: readonly string[];
  readonly runs: readonly { readonly room_versions: readonly string[]; readonly expected: readonly string[] }[];
}

const FOLDER = new URL('../../../test/vectors/state-resolution/', import.meta.url);

for (const file of readdirSync(FOLDER)) {
  const vector = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Vector;
  for (const run of vector.runs) {
    for (const versionId of run.room_versions) {
      test(`${vector.name} (${file}, room version ${versionId})`, () => check(vector, versionId, run.expected));
    }
  }
}

function check(vector: Vector, versionId: string, expected: readonly string[]): void {
  const version = getRoomVersion(versionId);
  assert.ok(version);
  const room = buildRoom(new Map(Object.entries(vector.events)), version);
  const missing = new Set((vector.missing ?? []).map(idOf));
  const rejected = new Set((vector.rejected ?? []).map(idOf));
  const stateSets = vector.state_sets.map(room.stateOf);
  for (const sets of [stateSets, stateSets.toReversed(), [...stateSets, ...stateSets]]) {
    const { state } = resolveState({
      version,
      stateSets: sets,
      events: (id) => (missing.has(id) ? undefined : room.lookup(id)),
      isRejected: (id) => rejected.has(id),
    });
    assert.deepEqual([...state.values()].toSorted(), expected.map(idOf).toSorted());
  }
}
