/**
 * What state sets agree on and what they do not.
 *
 * https://spec.matrix.org/v1.19/rooms/v2/#definitions
 */
import type { EventId } from '../ids.ts';
import type { StateMap } from './types.ts';

export interface Conflicts {
  /** The keys that every state set has with the same event. */
  readonly unconflicted: Map<string, EventId>;
  /** For every other key, the events that any state set has under it. */
  readonly conflicted: ReadonlyMap<string, ReadonlySet<EventId>>;
}

/** Splits the state sets into the unconflicted state map and the conflicted events (version 2 and later). */
export function splitConflicts(stateSets: readonly StateMap[]): Conflicts {
  return split(stateSets, (ids, holders) => ids.size === 1 && holders === stateSets.length);
}

/** In version 1 a key that some state set lacks is no conflict as long as the others agree. */
export function splitConflictsV1(stateSets: readonly StateMap[]): Conflicts {
  return split(stateSets, (ids) => ids.size === 1);
}

function split(
  stateSets: readonly StateMap[],
  isAgreed: (ids: ReadonlySet<EventId>, holders: number) => boolean,
): Conflicts {
  const unconflicted = new Map<string, EventId>();
  const conflicted = new Map<string, ReadonlySet<EventId>>();
  for (const key of new Set(stateSets.flatMap((stateSet) => [...stateSet.keys()]))) {
    const ids = new Set<EventId>();
    let holders = 0;
    for (const stateSet of stateSets) {
      const id = stateSet.get(key);
      if (id === undefined) continue;
      holders++;
      ids.add(id);
    }
    const [first] = ids;
    if (first !== undefined && isAgreed(ids, holders)) unconflicted.set(key, first);
    else conflicted.set(key, ids);
  }
  return { unconflicted, conflicted };
}
