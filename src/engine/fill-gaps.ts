/**
 * What received events rest on and we lack: their auth events, the events between them and what we have, and, where a gap
 * is too long, the state at its near end. Several servers are asked, the sender first; nothing that they say is believed
 * unchecked, and all that they may make us do is bounded. What cannot be had is left missing, and what needs it is dropped.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-state
 */
import { forEachLimited } from '../lib/limited-concurrency.ts';
import { checkAuth } from '../protocol/auth-rules.ts';
import type { EventId, ServerName } from '../protocol/ids.ts';
import type { JsonValue, StateEvent } from '../protocol/pdu.ts';
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import type { Database } from '../storage/database.ts';
import { type KnownEvent, updateOutlierState } from '../storage/received-events.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { viewOf } from './judge-received.ts';
import { otherServers } from './local-members.ts';
import { missingAuthEvents, type OutlierParts, storeOutliers } from './outliers.ts';
import type { ReceivedEvent } from './parse-received.ts';
import type { PduVerifier, RemoteRooms, StateIds } from './ports.ts';
import { isInGraph, loadIntoBatch, loadKnown, type ReceivedBatch } from './received-batch.ts';
import type { RoomSnapshot } from './room-snapshot.ts';
import type { StateResolver } from './state-resolver.ts';

/** How often the sender is asked for what lies before, and for how much at once. */
const MAX_ROUNDS = 4;
const MISSING_EVENTS_LIMIT = 50;
/** The smallest limit that servers set themselves; one that gives less has given all that it has before these events. */
const FULL_ANSWER = 10;
/** Servers asked for the same thing. */
const MAX_SERVERS = 3;
/** Single events fetched at the same time, and for one call in all: the state and auth chain of a large room. */
const FETCHES_AT_ONCE = 10;
const MAX_FETCHES = 20_000;
/** Levels of auth events that are followed one by one; with /state_ids the whole chain is named at once. */
const MAX_AUTH_ROUNDS = 30;
/** Gaps of one call whose state is fetched. */
const MAX_STATES = 10;
/** The state and auth chain that one answer may name. */
const MAX_STATE_IDS = 100_000;

export interface Gap {
  readonly batch: ReceivedBatch;
  readonly snapshot: RoomSnapshot;
  readonly origin: ServerName;
}

export interface GapFiller {
  /** Fetches what the events lack; gives the events before them that have to be received first. */
  fill(gap: Gap, received: readonly ReceivedEvent[]): Promise<readonly ReceivedEvent[]>;
  /** Fetches their auth events, and the state at what lies before them. */
  support(gap: Gap, received: readonly ReceivedEvent[]): Promise<void>;
}

export interface GapFillerOptions extends OutlierParts {
  readonly database: Database;
  readonly resolver: StateResolver;
  readonly verifier: PduVerifier;
  readonly remote: RemoteRooms;
  readonly serverName: ServerName;
}

/** One call's progress: whom to ask, and how much may still be fetched. */
interface Work extends Gap {
  readonly servers: readonly ServerName[];
  readonly create: StateEvent | undefined;
  fetchesLeft: number;
}

export function createGapFiller(options: GapFillerOptions): GapFiller {
  return {
    async fill(gap, received) {
      const work = startWork(options, gap);
      await fetchAuthEvents(options, work, received);
      const { ancestors, isUnusable } = await fetchAncestors(options, work, received);
      await fetchStates(options, work, isUnusable ? ancestors : [...received, ...ancestors]);
      return ancestors;
    },

    async support(gap, received) {
      const work = startWork(options, gap);
      await fetchAuthEvents(options, work, received);
      await fetchStates(options, work, received);
    },
  };
}

function startWork({ serverName }: GapFillerOptions, gap: Gap): Work {
  const others = otherServers(gap.snapshot, new Set([serverName, gap.origin]), MAX_SERVERS - 1);
  return {
    ...gap,
    servers: [gap.origin, ...others],
    create: gap.snapshot.get('m.room.create', ''),
    fetchesLeft: MAX_FETCHES,
  };
}

/** Prev events that have no state: neither in the room's graph nor outliers whose state was fetched before. */
function missingPrevs(batch: ReceivedBatch, received: readonly ReceivedEvent[]): readonly EventId[] {
  const here = new Set(received.map(({ event }) => event.eventId));
  const prevs = new Set(received.flatMap(({ event }) => event.prevEvents));
  return [...prevs].filter((id) => !here.has(id) && !hasState(batch.known.get(id)));
}

function hasState(known: KnownEvent | undefined): boolean {
  return isInGraph(known) || (known?.stateAfter ?? null) !== null;
}

interface Ancestors {
  readonly ancestors: readonly ReceivedEvent[];
  /** The sender gave what lies before, and none of it is an event: then the state there would rest on the same. */
  readonly isUnusable: boolean;
}

async function fetchAncestors(
  options: GapFillerOptions,
  work: Work,
  received: readonly ReceivedEvent[],
): Promise<Ancestors> {
  const { batch, snapshot } = work;
  let isUnusable = false;
  const ancestors = new Map<EventId, ReceivedEvent>();
  const latest = received.map(({ event }) => event.eventId);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const all = [...received, ...ancestors.values()];
    const missing = missingPrevs(batch, all);
    if (missing.length === 0) break;
    const needing = all.filter(({ event }) => event.prevEvents.some((id) => missing.includes(id)));
    const request = {
      roomId: batch.roomId,
      earliest: snapshot.parts.extremities.map(({ eventId }) => eventId),
      latest: needing.map(({ event }) => event.eventId).slice(0, MISSING_EVENTS_LIMIT),
      limit: MISSING_EVENTS_LIMIT,
    };
    const known = new Set([...latest, ...ancestors.keys()]);
    let given = 0;
    let asked: ServerName | undefined;
    let isFaulty = false;
    const wanted = await askServers(
      work,
      (server) => {
        asked = server;
        return options.remote.fetchMissingEvents({ server, ...request });
      },
      async (values) => {
        const found = admitted(await admitPdus(options.verifier, batch, values.slice(0, MISSING_EVENTS_LIMIT)));
        const useful = connected(found, { missing, known });
        given = values.length;
        // No other server can have an event of the sender's dropped.
        isFaulty ||= asked === work.origin && given > 0 && found.length === 0;
        return useful.length === 0 ? undefined : useful;
      },
    );
    if (wanted === undefined) {
      isUnusable = isFaulty;
      break;
    }
    await loadIntoBatch(options.database, batch, wanted);
    await fetchAuthEvents(options, work, wanted);
    for (const one of wanted) if (!isInGraph(batch.known.get(one.event.eventId))) ancestors.set(one.event.eventId, one);
    if (given < FULL_ANSWER) break;
  }
  return { ancestors: [...ancestors.values()], isUnusable };
}

/** Those that the missing events are, or that these lead to. */
export function connected(
  found: readonly ReceivedEvent[],
  { missing, known }: { readonly missing: readonly EventId[]; readonly known: ReadonlySet<EventId> },
): readonly ReceivedEvent[] {
  const byId = new Map(found.map((one) => [one.event.eventId, one]));
  const taken = new Map<EventId, ReceivedEvent>();
  const open = [...missing];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    const one = known.has(id) || taken.has(id) ? undefined : byId.get(id);
    if (one === undefined) continue;
    taken.set(id, one);
    open.push(...one.event.prevEvents);
  }
  return [...taken.values()];
}

/** The first usable answer of the servers; one that gives none is passed over. What `take` throws is our own failure. */
async function askServers<Answer, T>(
  { servers }: Work,
  ask: (server: ServerName) => Promise<Answer | undefined>,
  take: (answer: Answer) => Promise<T | undefined>,
): Promise<T | undefined> {
  for (const server of servers) {
    const answer = await ask(server).catch(() => undefined);
    const taken = answer === undefined ? undefined : await take(answer);
    if (taken !== undefined) return taken;
  }
  return undefined;
}

/** Fetches auth events and theirs in turn, and stores what holds together. */
async function fetchAuthEvents(
  options: GapFillerOptions,
  work: Work,
  received: readonly ReceivedEvent[],
): Promise<void> {
  const { batch } = work;
  const fetched: ReceivedEvent[] = [];
  const asked = new Set<EventId>();
  for (let round = 0; round < MAX_AUTH_ROUNDS; round++) {
    const needing = [...received, ...fetched];
    await loadKnown(options.database, batch, missingAuthEvents(batch, needing));
    const missing = missingAuthEvents(batch, needing).filter((id) => !asked.has(id));
    if (missing.length === 0) break;
    for (const id of missing) asked.add(id);
    fetched.push(...(await fetchEvents(options, work, missing)));
  }
  if (fetched.length > 0) await storeOutliers(options, work, fetched);
}

/** The events of these ids that some server gave, a few asked for at the same time. */
async function fetchEvents(
  { remote, verifier }: GapFillerOptions,
  work: Work,
  eventIds: readonly EventId[],
): Promise<readonly ReceivedEvent[]> {
  const { batch } = work;
  const { roomId } = batch;
  const taken = eventIds.slice(0, Math.max(work.fetchesLeft, 0));
  work.fetchesLeft -= taken.length;
  const found: ReceivedEvent[] = [];
  await forEachLimited(taken, FETCHES_AT_ONCE, async (eventId) => {
    const one = await askServers(
      work,
      (server): Promise<JsonValue | undefined> => remote.fetchEvent({ server, roomId, eventId }),
      async (value) =>
        admitted(await admitPdus(verifier, batch, [value])).find(({ event }) => event.eventId === eventId),
    );
    if (one !== undefined) found.push(one);
  });
  return found;
}

async function fetchStates(options: GapFillerOptions, work: Work, received: readonly ReceivedEvent[]): Promise<void> {
  const ends = missingPrevs(work.batch, received).slice(0, MAX_STATES);
  for (const eventId of ends) await fetchState(options, work, eventId);
}

/** The state at an event that we lack: it becomes an outlier, from which on the room is known. */
async function fetchState(options: GapFillerOptions, work: Work, eventId: EventId): Promise<void> {
  const { remote } = options;
  const { roomId } = work.batch;
  await askServers(
    work,
    (server) => remote.fetchStateIds({ server, roomId, eventId }),
    async (ids) =>
      ids.stateIds.length + ids.authChainIds.length > MAX_STATE_IDS
        ? undefined
        : takeState(options, work, { eventId, ids }),
  );
}

interface StateAt {
  readonly eventId: EventId;
  readonly ids: StateIds;
}

/** Gives undefined where the state is not to be used. */
async function takeState(
  options: GapFillerOptions,
  work: Work,
  { eventId, ids }: StateAt,
): Promise<boolean | undefined> {
  const { batch, create } = work;
  const { database, resolver } = options;
  const all = [eventId, ...ids.stateIds, ...ids.authChainIds];
  await loadKnown(database, batch, all);
  const fetched = await fetchEvents(
    options,
    work,
    [...new Set(all)].filter((id) => !batch.known.has(id)),
  );
  await fetchAuthEvents(options, work, fetched);
  await storeOutliers(options, work, fetched);
  const event = batch.known.get(eventId);
  const state = usableState(batch, ids.stateIds);
  if (event === undefined || create === undefined) return undefined;
  if (state.get(stateKeyOf('m.room.create', ''))?.event.eventId !== create.eventId) return undefined;
  const stateBefore = await resolver.create(batch, [...state.values()].flatMap(toStateEvent));
  const view = viewOf([...state.values()].flatMap(({ event: held }) => toState(held)));
  const isAccepted = event.rejection === undefined && checkAuth(event.event, view, batch.version).allowed;
  const changes = isAccepted ? toStateEvent(event) : [];
  let stateAfter = stateBefore;
  for (const change of changes) stateAfter = await resolver.extend(batch, stateBefore, change);
  await updateOutlierState(database, event.nid, { stateBefore, stateAfter });
  batch.known.set(eventId, { ...event, stateBefore, stateAfter });
  return true;
}

/** State events of this room that were not rejected: what a server claims beyond that is left out. */
function usableState(batch: ReceivedBatch, stateIds: readonly EventId[]): ReadonlyMap<string, KnownEvent> {
  const state = new Map<string, KnownEvent>();
  for (const id of stateIds) {
    const known = batch.known.get(id);
    if (known === undefined || known.rejection !== undefined || known.event.roomId !== batch.roomId) continue;
    const { type, stateKey } = known.event;
    if (stateKey !== undefined) state.set(stateKeyOf(type, stateKey), known);
  }
  return state;
}

function toStateEvent({ nid, event: { type, stateKey } }: KnownEvent) {
  return stateKey === undefined ? [] : [{ nid, type, stateKey }];
}

function toState(event: KnownEvent['event']): readonly StateEvent[] {
  return event.stateKey === undefined ? [] : [{ ...event, stateKey: event.stateKey }];
}
