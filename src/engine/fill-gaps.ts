/**
 * What received events rest on and we lack: their auth events, the events between them and what we have, and, where a gap
 * is too long, the state at its near end. Several servers are asked, the sender first; nothing that they say is believed
 * unchecked, and all that they may make us do is bounded. What cannot be had is left missing, and what needs it is dropped.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-state
 */
import type { EventId, ServerName } from '../protocol/ids.ts';
import type { KnownEvent } from '../storage/received-events.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { askServers, type FetchParts, type FetchWork, fetchAuthEvents, startFetching } from './fetch-events.ts';
import { fetchState } from './fetch-state.ts';
import { otherServers } from './local-members.ts';
import type { ReceivedEvent } from './parse-received.ts';
import { isInGraph, loadIntoBatch, type ReceivedBatch } from './received-batch.ts';
import type { RoomSnapshot } from './room-snapshot.ts';
import type { StateResolver } from './state-resolver.ts';

/** How often the sender is asked for what lies before, and for how much at once. */
const MAX_ROUNDS = 4;
const MISSING_EVENTS_LIMIT = 50;
/** The smallest limit that servers set themselves; one that gives less has given all that it has before these events. */
const FULL_ANSWER = 10;
/** Servers asked for the same thing. */
const MAX_SERVERS = 3;
/** Gaps of one call whose state is fetched. */
const MAX_STATES = 10;

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

export interface GapFillerOptions extends FetchParts {
  readonly resolver: StateResolver;
  readonly serverName: ServerName;
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

function startWork({ serverName }: GapFillerOptions, gap: Gap): FetchWork {
  const others = otherServers(gap.snapshot, new Set([serverName, gap.origin]), MAX_SERVERS - 1);
  return startFetching(gap, [gap.origin, ...others]);
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
  work: FetchWork,
  received: readonly ReceivedEvent[],
): Promise<Ancestors> {
  const { batch, snapshot } = work;
  const [sender] = work.servers;
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
        isFaulty ||= asked === sender && given > 0 && found.length === 0;
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

async function fetchStates(
  options: GapFillerOptions,
  work: FetchWork,
  received: readonly ReceivedEvent[],
): Promise<void> {
  const ends = missingPrevs(work.batch, received).slice(0, MAX_STATES);
  for (const eventId of ends) await fetchState(options, work, eventId);
}
