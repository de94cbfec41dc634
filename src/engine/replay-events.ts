/**
 * Judges the events of a room once more, now that the state before the first of them is known: by their auth events, by the
 * state before them, and by the current state as it was then. Events that were let in for lack of a state are refused, and
 * those that were refused for it are let in (docs/adr/0019-partial-rooms.md).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 */
import { checkAuth } from '../protocol/auth-rules.ts';
import type { EventId } from '../protocol/ids.ts';
import type { StateEvent } from '../protocol/pdu.ts';
import type { GraphNode, RejudgedEvent } from '../storage/partial-rooms.ts';
import { type KnownEvent, loadKnownEvents } from '../storage/received-events.ts';
import { knownEntry } from './cited-members.ts';
import { judgeByAuthEvents } from './judge-received.ts';
import { referenceHashOf } from './reference-hash.ts';
import { createReplayStates, type ReplayStates, type ReplayStatesOptions } from './replay-states.ts';
import type { Extremity, RoomSnapshot, StateEntry } from './room-snapshot.ts';

/** Events whose PDUs are in memory at once. */
const EVENTS_PER_PAGE = 200;
/** Bounds the walk from an event through refused ones to the extremities that it follows. */
const MAX_HIDDEN_ANCESTORS = 200;

export interface Replay {
  /** Judges these, which come after those before; ancestors first. */
  run(nodes: readonly GraphNode[]): Promise<void>;
  /** The state before the join, as it is now known. */
  loadBase(join: GraphNode): Promise<RoomSnapshot>;
  finish(): Promise<Replayed>;
}

export interface Replayed {
  readonly rejudged: readonly RejudgedEvent[];
  /** Events that were refused and have no place in the stream yet, in order. */
  readonly entered: readonly EnteredEvent[];
  /** The current state. */
  readonly current: RoomSnapshot;
  readonly extremities: readonly Extremity[];
}

export interface EnteredEvent {
  readonly known: KnownEvent;
  readonly authNids: readonly number[];
  readonly stateBefore: number;
  readonly stateAfter: number;
  readonly replaced: StateEntry | undefined;
}

export interface ReplayOptions extends ReplayStatesOptions {
  /** The states after events that are not among those that are judged. */
  readonly outside: ReadonlyMap<EventId, number>;
  /** The join, and the state before it as it was known until now. */
  readonly first: { readonly nid: number; readonly given: readonly StateEntry[] };
}

interface Parts extends ReplayOptions {
  readonly states: ReplayStates;
  readonly create: StateEvent | undefined;
  readonly stateAfter: Map<EventId, number>;
  /** What became of the events so far: by which rule they are rejected. */
  readonly rejections: Map<EventId, string | undefined>;
  readonly hidden: Map<EventId, readonly EventId[]>;
  readonly extremities: Map<EventId, Extremity>;
  readonly rejudged: RejudgedEvent[];
  readonly entered: EnteredEvent[];
  current: number | undefined;
}

export function createReplay(options: ReplayOptions): Replay {
  const states = createReplayStates(options);
  const parts: Parts = {
    ...options,
    states,
    create: options.room.get('m.room.create', ''),
    stateAfter: new Map(),
    rejections: new Map(),
    hidden: new Map(),
    extremities: new Map(),
    rejudged: [],
    entered: [],
    current: undefined,
  };
  return {
    async run(nodes) {
      for (let from = 0; from < nodes.length; from += EVENTS_PER_PAGE) {
        await judgePage(parts, nodes.slice(from, from + EVENTS_PER_PAGE));
      }
    },

    loadBase: async (join) => states.load(await stateBeforeJoin(parts, join)),

    async finish() {
      const { rejudged, entered, extremities } = parts;
      await states.flush();
      if (parts.current === undefined) throw new Error('the whole state of the room leaves nothing of it');
      return { rejudged, entered, current: await states.load(parts.current), extremities: [...extremities.values()] };
    },
  };
}

async function judgePage(parts: Parts, nodes: readonly GraphNode[]): Promise<void> {
  const { database, room } = parts;
  const page = await loadKnownEvents(
    database,
    room.version,
    nodes.map(({ eventId }) => eventId),
  );
  const byId = new Map(page.map((known) => [known.event.eventId, known]));
  const cited = new Set(page.flatMap(({ event }) => event.authEvents).filter((id) => !byId.has(id)));
  for (const known of await loadKnownEvents(database, room.version, [...cited])) byId.set(known.event.eventId, known);
  for (const { eventId } of nodes) {
    const known = byId.get(eventId);
    if (known !== undefined) await judge(parts, known, byId);
  }
}

async function judge(parts: Parts, known: KnownEvent, byId: ReadonlyMap<EventId, KnownEvent>): Promise<void> {
  const { states, room, rejections } = parts;
  const { event, nid } = known;
  const stateBefore = await findStateBefore(parts, known);
  // Of an event that was refused and leads nowhere that we know nothing more can be said.
  if (stateBefore === undefined) return;
  const before = await states.load(stateBefore);
  const authEvents = event.authEvents.flatMap((id) => withVerdict(rejections, byId.get(id)));
  const rejection = rejectionOf(parts, known, { before, authEvents });
  const isCurrent = parts.current === undefined || parts.current === stateBefore;
  const now = isCurrent ? before : await states.load(parts.current ?? stateBefore);
  const softFailed = rejection === undefined && !isCurrent && !checkAuth(event, now, room.version).allowed;
  const entry = rejection === undefined ? knownEntry(room.version, known) : undefined;
  const stateAfter = entry === undefined ? stateBefore : await states.extend(stateBefore, [entry]);
  parts.stateAfter.set(event.eventId, stateAfter);
  rejections.set(event.eventId, rejection);
  const isAccepted = rejection === undefined && !softFailed;
  const replaced = event.stateKey === undefined ? undefined : before.get(event.type, event.stateKey);
  if (isAccepted && known.position === null) {
    const authNids = authEvents.map((cited) => cited.nid);
    parts.entered.push({ known, authNids, stateBefore, stateAfter, replaced });
  } else {
    const replacesNid = replaced?.nid ?? null;
    parts.rejudged.push({ nid, stateBefore, stateAfter, rejection, softFailed, replacesNid });
  }
  if (isAccepted) await follow(parts, known, stateAfter);
  else parts.hidden.set(event.eventId, event.prevEvents);
  parts.current ??= stateBefore;
}

function withVerdict(rejections: Parts['rejections'], known: KnownEvent | undefined): readonly KnownEvent[] {
  if (known === undefined) return [];
  const { eventId } = known.event;
  return [rejections.has(eventId) ? { ...known, rejection: rejections.get(eventId) } : known];
}

interface Judging {
  readonly before: RoomSnapshot;
  readonly authEvents: readonly KnownEvent[];
}

function rejectionOf(
  { room: { version }, create }: Parts,
  { event, rejection }: KnownEvent,
  { before, authEvents }: Judging,
): string | undefined {
  // What is too large is so in any state.
  if (rejection === `v${version.id}:size`) return rejection;
  if (authEvents.length < event.authEvents.length) return rejection ?? `v${version.id}:auth_events`;
  const byAuthEvents = judgeByAuthEvents(event, { version, authEvents, create });
  const verdict = byAuthEvents.allowed ? checkAuth(event, before, version) : byAuthEvents;
  return verdict.allowed ? undefined : verdict.rule;
}

async function findStateBefore(parts: Parts, { nid, event, position }: KnownEvent): Promise<number | undefined> {
  const { states, stateAfter, outside } = parts;
  if (nid === parts.first.nid) return stateBeforeJoin(parts, event);
  const found = event.prevEvents.map((id) => stateAfter.get(id) ?? outside.get(id));
  const known = found.filter((one) => one !== undefined);
  if (known.length < found.length || known.length === 0) {
    if (position === null) return undefined;
    throw new Error(`the state before ${event.eventId} is not known`);
  }
  return states.resolve(known);
}

/** What the server that let us in gave must not be lost by what another leaves out: both are resolved. */
async function stateBeforeJoin(
  { states, outside, first }: Parts,
  { prevEvents }: Pick<GraphNode, 'prevEvents'>,
): Promise<number> {
  const resolved = await states.resolve(prevEvents.flatMap((id) => outside.get(id) ?? []));
  return states.resolve([resolved, await states.extend(resolved, first.given)]);
}

/** The event is an extremity in the place of those that it follows; the current state is what they resolve to. */
async function follow(parts: Parts, { nid, event }: KnownEvent, stateAfter: number): Promise<void> {
  const { extremities, hidden, states, room } = parts;
  const followed = new Set<EventId>();
  const open = [...event.prevEvents];
  for (let id = open.pop(); id !== undefined && followed.size < MAX_HIDDEN_ANCESTORS; id = open.pop()) {
    if (followed.has(id)) continue;
    followed.add(id);
    extremities.delete(id);
    open.push(...(hidden.get(id) ?? []));
  }
  const hash = referenceHashOf(event, room.version);
  const own = { eventId: event.eventId, nid, stateAfter };
  extremities.set(event.eventId, hash === undefined ? own : { ...own, referenceHash: hash });
  parts.current = await states.resolve([...extremities.values()].flatMap((one) => one.stateAfter ?? []));
}
