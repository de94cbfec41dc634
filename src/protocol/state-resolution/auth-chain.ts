/**
 * Walks of the graph that `auth_events` form. Each visits an event once and keeps its own stack, so neither the depth
 * nor the width of a hostile graph costs more than its size. Events that the lookup does not know end a walk.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#definitions
 */
import type { EventId } from '../ids.ts';
import type { EventLookup, StateMap } from './types.ts';

/** The auth chains of `eventIds` united: they themselves are in it only where another leads to them. */
export function authChainOf(eventIds: Iterable<EventId>, events: EventLookup): Set<EventId> {
  const roots = new Set<EventId>();
  for (const id of eventIds) for (const authId of events(id)?.authEvents ?? []) roots.add(authId);
  return closureOf(roots, events, NONE);
}

/**
 * The auth difference: the union of the full auth chains of the state sets without their intersection. The events of a
 * state set count as part of its chain, as in the servers that these rooms are shared with: conflicted events are added
 * to the result later anyway, and unconflicted ones are thereby kept out of it.
 */
export function authDifferenceOf(
  stateSets: readonly StateMap[],
  unconflicted: StateMap,
  events: EventLookup,
): Set<EventId> {
  // What the sets agree on leads to the same chains in each: walked once, it then ends the walk of every set.
  const common = closureOf(unconflicted.values(), events, NONE);
  const chains = stateSets.map((stateSet) => closureOf(stateSet.values(), events, common));
  const counts = new Map<EventId, number>();
  for (const chain of chains) for (const id of chain) counts.set(id, (counts.get(id) ?? 0) + 1);
  const difference = new Set<EventId>();
  for (const [id, count] of counts) if (count < chains.length) difference.add(id);
  return difference;
}

/**
 * The conflicted state subgraph: every event on a path of auth events from one conflicted event to another, both ends
 * included. An event is on such a path where it can be reached from one and reaches one.
 */
export function conflictedSubgraphOf(conflicted: ReadonlySet<EventId>, events: EventLookup): Set<EventId> {
  const citedBy = new Map<EventId, EventId[]>();
  for (const id of closureOf(conflicted, events, NONE)) {
    for (const authId of events(id)?.authEvents ?? []) {
      const citing = citedBy.get(authId);
      if (citing === undefined) citedBy.set(authId, [id]);
      else citing.push(id);
    }
  }
  return walk(conflicted, (id) => citedBy.get(id) ?? [], NONE);
}

const NONE: ReadonlySet<EventId> = new Set();

/** `roots` and all that they lead to, without what lies in `known`, a set that holds all that its members lead to. */
function closureOf(roots: Iterable<EventId>, events: EventLookup, known: ReadonlySet<EventId>): Set<EventId> {
  return walk(roots, (id) => events(id)?.authEvents ?? [], known);
}

function walk(
  roots: Iterable<EventId>,
  next: (id: EventId) => readonly EventId[],
  known: ReadonlySet<EventId>,
): Set<EventId> {
  const seen = new Set<EventId>();
  const stack: EventId[] = [];
  const visit = (id: EventId): void => {
    if (seen.has(id) || known.has(id)) return;
    seen.add(id);
    stack.push(id);
  };
  for (const id of roots) visit(id);
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) for (const nextId of next(id)) visit(nextId);
  return seen;
}
