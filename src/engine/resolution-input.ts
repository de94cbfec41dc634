/**
 * Gathers what state resolution reads: where the states differ, the auth chains of that, and what they agree on as far as
 * the authorization rules may ask for it. What all states agree on is compared by numeric ids and never loaded, so the
 * cost follows the conflict and not the size of the room. The number of statements is fixed.
 */
import type { EventId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import type { Transaction } from '../storage/database.ts';
import {
  type KnownEvent,
  listEventsOfKeys,
  listReachable,
  loadAuthChain,
  loadKnownEvents,
} from '../storage/received-events.ts';
import { keysToJudge } from './judge-received.ts';
import type { ResolutionWork } from './resolution-work.ts';

/** Auth events that were not known when an event was stored are looked up by their ids, level by level; so many. */
const MAX_LOOKUP_ROUNDS = 64;

export interface LoadedConflict {
  readonly work: ResolutionWork;
  /** Of each state, the events that not all the others have, by state key. */
  readonly differing: readonly ReadonlyMap<string, KnownEvent>[];
  readonly byId: ReadonlyMap<EventId, KnownEvent>;
}

export async function loadConflict(
  tx: Transaction,
  version: RoomVersion,
  states: readonly ReadonlySet<number>[],
): Promise<LoadedConflict> {
  const common = intersectionOf(states);
  const nids = new Set(states.flatMap((state) => [...state.difference(common)]));
  const chain = await loadWholeChain(tx, version, [...nids]);
  const differing = states.map((state) =>
    stateOf([...chain.values()].filter(({ nid }) => state.has(nid) && nids.has(nid))),
  );
  const difference = await findAuthDifference(tx, { differing, chain, common });
  const keys = new Map(
    [...chain.values()]
      .flatMap(({ event }) => keysToJudge(event, version))
      .concat([{ type: 'm.room.create', stateKey: '' }])
      .map((key) => [stateKeyOf(key.type, key.stateKey), key]),
  );
  const agreed = await listEventsOfKeys(tx, version, { nids: [...common], keys: [...keys.values()] });
  const agreedChain = await loadWholeChain(
    tx,
    version,
    agreed.map(({ nid }) => nid),
  );
  const byId = new Map([...chain, ...agreedChain]);
  const agreedState = stateOf(agreed);
  return {
    differing,
    byId,
    work: {
      versionId: version.id,
      stateSets: differing.map((state) => [...agreedState, ...state].map(([key, { event }]) => [key, event.eventId])),
      events: [...byId.values()].map(({ event }) => event),
      rejectedIds: [...byId.values()].filter(({ rejection }) => rejection !== undefined).map(idOf),
      authDifference: [...difference],
    },
  };
}

const idOf = ({ event }: KnownEvent): EventId => event.eventId;

function intersectionOf(states: readonly ReadonlySet<number>[]): ReadonlySet<number> {
  const [first, ...others] = states;
  return others.reduce<ReadonlySet<number>>((common, state) => common.intersection(state), first ?? new Set());
}

function stateOf(events: readonly KnownEvent[]): ReadonlyMap<string, KnownEvent> {
  return new Map(events.map((known) => [stateKeyOf(known.event.type, known.event.stateKey ?? ''), known]));
}

async function loadWholeChain(
  tx: Transaction,
  version: RoomVersion,
  nids: readonly number[],
): Promise<ReadonlyMap<EventId, KnownEvent>> {
  const found = new Map<EventId, KnownEvent>();
  const unknown = new Set<EventId>();
  const add = (events: readonly KnownEvent[]): void => {
    for (const known of events) found.set(known.event.eventId, known);
  };
  add(nids.length === 0 ? [] : await loadAuthChain(tx, version, nids));
  for (let round = 0; round < MAX_LOOKUP_ROUNDS; round++) {
    const missing = [...found.values()]
      .flatMap(({ event }) => event.authEvents)
      .filter((id) => !found.has(id) && !unknown.has(id));
    if (missing.length === 0) break;
    const events = await loadKnownEvents(tx, version, [...new Set(missing)]);
    for (const id of missing) unknown.add(id);
    if (events.length === 0) break;
    add(
      await loadAuthChain(
        tx,
        version,
        events.map(({ nid }) => nid),
      ),
    );
  }
  return found;
}

interface Difference {
  readonly differing: readonly ReadonlyMap<string, KnownEvent>[];
  readonly chain: ReadonlyMap<EventId, KnownEvent>;
  readonly common: ReadonlySet<number>;
}

/** The events that some states' full auth chains have and others' have not. */
async function findAuthDifference(tx: Transaction, { differing, chain, common }: Difference): Promise<Set<EventId>> {
  const counts = new Map<EventId, number>();
  for (const state of differing) {
    for (const id of closureOf([...state.values()], chain)) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const candidates = new Map<number, EventId>();
  for (const [id, count] of counts) {
    const known = chain.get(id);
    if (known !== undefined && count < differing.length && !common.has(known.nid)) candidates.set(known.nid, id);
  }
  // What the states agree on is in the chain of each, and so is all that it leads to.
  const unsure = [...candidates.keys()].filter((nid) => !differing.some((state) => holds(state, nid)));
  const shared = unsure.length === 0 ? [] : await listReachable(tx, [...common], [...candidates.keys()]);
  for (const nid of shared) candidates.delete(nid);
  return new Set(candidates.values());
}

function holds(state: ReadonlyMap<string, KnownEvent>, nid: number): boolean {
  for (const known of state.values()) if (known.nid === nid) return true;
  return false;
}

function closureOf(roots: readonly KnownEvent[], chain: ReadonlyMap<EventId, KnownEvent>): ReadonlySet<EventId> {
  const seen = new Set<EventId>(roots.map(idOf));
  const open: Event[] = roots.map(({ event }) => event);
  for (let event = open.pop(); event !== undefined; event = open.pop()) {
    for (const id of event.authEvents) {
      const known = seen.has(id) ? undefined : chain.get(id);
      if (known === undefined) continue;
      seen.add(id);
      open.push(known.event);
    }
  }
  return seen;
}
