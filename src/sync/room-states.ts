/**
 * The state that goes with a timeline. Full: the room's state where the timeline starts, which is the current state with
 * the timeline's own changes taken back. Delta: what changed between the token and that place. With `use_state_after` the
 * same, but where the timeline ends. Lazy loading leaves out members that the reader does not need.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#syncing
 */

import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Breathe } from '../lib/breather.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import type { Event, StateEvent } from '../protocol/pdu.ts';
import type { Transaction } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { listStateByIds, listStateChanges } from '../storage/sync-queries.ts';
import type { FullStateTexts } from './full-state-texts.ts';
import type { LazySession } from './lazy-members.ts';
import type { StateTexts } from './render.ts';
import type { Timeline } from './timelines.ts';
import type { SyncContext } from './types.ts';

export interface StateWanted {
  readonly snapshot: RoomSnapshot;
  readonly timeline: Timeline;
  readonly isFull: boolean;
  /** The token's position, and where the timeline ends. */
  readonly after: number;
  readonly upTo: number;
  readonly heroes: readonly string[];
}

export interface RoomStatesOptions {
  readonly database: Transaction;
  readonly engine: Pick<RoomEngine, 'getRecent'>;
  readonly session: LazySession;
  readonly fullStates: FullStateTexts;
  readonly breathe: Breathe;
}

/** A state event, or the id of one that is yet to be loaded. */
type StateRef = StateEvent | { readonly eventId: EventId };

/** The texts of the events of each room's state. */
export async function loadRoomStates(
  options: RoomStatesOptions,
  context: SyncContext,
  rooms: readonly StateWanted[],
): Promise<ReadonlyMap<RoomId, StateTexts>> {
  const changes = await loadUnknownChanges(options, context, rooms);
  const picked: { readonly room: StateWanted; readonly refs: readonly StateRef[] }[] = [];
  const states = new Map<RoomId, StateTexts>();
  for (const room of rooms) {
    const shared = sharedState(options, context, room);
    if (shared !== undefined) {
      states.set(room.snapshot.roomId, shared);
      continue;
    }
    picked.push({ room, refs: pickState({ options, context, room, changed: changes.get(room.snapshot.roomId) }) });
    await options.breathe();
  }
  const loaded = await loadRefs(options, picked);
  for (const { room, refs } of picked) {
    const { roomId } = room.snapshot;
    const events = refs
      .map((ref) => ('content' in ref ? ref : loaded.get(ref.eventId)))
      .filter((event) => event !== undefined)
      .filter((event) => context.filter.state({ ...event, roomId }));
    if (context.filter.lazyLoadMembers) remember(options.session, room, events);
    states.set(
      roomId,
      events.map((event) => context.filter.renderState(event)),
    );
    await options.breathe();
  }
  return states;
}

/** The whole current state as every reader sees it who wants all of it, where that is what belongs to the timeline. */
function sharedState({ engine, fullStates }: RoomStatesOptions, context: SyncContext, room: StateWanted) {
  const { filter } = context;
  if (!room.isFull || filter.lazyLoadMembers || !filter.isStatePlain) return undefined;
  const { snapshot, timeline, upTo } = room;
  const place = placeOf(room, context);
  const later = engine.getRecent(snapshot.roomId, upTo) ?? [];
  const changesState = ({ event, position }: TimelineEvent): boolean =>
    event.stateKey !== undefined && position >= place;
  if (timeline.known.some(changesState) || later.some(changesState)) return undefined;
  return fullStates.get(snapshot, () => [...snapshot.state()].map((event) => filter.renderState(event)).join());
}

/** Changes between the token and the place the state is for, where memory does not have them. */
async function loadUnknownChanges(
  { database }: RoomStatesOptions,
  context: SyncContext,
  rooms: readonly StateWanted[],
): Promise<ReadonlyMap<RoomId, readonly StateEvent[]>> {
  const ranges = rooms
    .filter(({ isFull, timeline, after }) => !isFull && timeline.knownFrom > after)
    .map((room) => ({
      roomId: room.snapshot.roomId,
      version: room.snapshot.version,
      after: room.after,
      upTo: placeOf(room, context) - 1,
    }));
  return ranges.length === 0 ? new Map() : listStateChanges(database, ranges);
}

/** The state before the event at this position is what the client is given. */
function placeOf({ timeline, upTo }: StateWanted, { useStateAfter }: SyncContext): number {
  return useStateAfter ? upTo + 1 : timeline.start;
}

interface Picking {
  readonly options: RoomStatesOptions;
  readonly context: SyncContext;
  readonly room: StateWanted;
  /** What changed, as the database says; undefined where memory knows it. */
  readonly changed: readonly StateEvent[] | undefined;
}

function pickState(picking: Picking): readonly StateRef[] {
  const { context, room } = picking;
  const stateAt = createStateAt(picking);
  const resolved = resolvedState(picking);
  if (room.isFull && !context.filter.lazyLoadMembers) {
    return withState(fullState(room.snapshot.state(), stateAt), resolved);
  }
  const part = room.isFull ? fullState(room.snapshot.parts.others.values(), stateAt) : changedState(picking);
  const base = withState(part, resolved);
  return context.filter.lazyLoadMembers ? [...base, ...neededMembers(picking, base, stateAt)] : base;
}

type StateAt = (type: string, stateKey: string) => StateRef | undefined;

/** Reads the state at the place: current state, with what came later taken back. */
function createStateAt({ options, context, room }: Picking): StateAt {
  const { snapshot, timeline, upTo } = room;
  const place = placeOf(room, context);
  const later = options.engine.getRecent(snapshot.roomId, upTo) ?? [];
  const replaced = new Map<string, TimelineEvent['replaces']>();
  for (const { event, position, replaces, sidelined } of [...timeline.known, ...later]) {
    if (event.stateKey === undefined || sidelined === true || position < place) continue;
    const key = `${event.type}\u0000${event.stateKey}`;
    if (!replaced.has(key)) replaced.set(key, replaces);
  }
  return (type, stateKey) => {
    const key = `${type}\u0000${stateKey}`;
    if (!replaced.has(key)) return snapshot.get(type, stateKey);
    const earlier = replaced.get(key);
    return earlier === undefined ? undefined : { eventId: earlier.eventId };
  };
}

function fullState(current: Iterable<StateEvent>, stateAt: StateAt): readonly StateRef[] {
  const refs: StateRef[] = [];
  for (const { type, stateKey } of current) {
    const ref = stateAt(type, stateKey);
    if (ref !== undefined) refs.push(ref);
  }
  return refs;
}

function changedState({ context, room, changed }: Picking): readonly StateEvent[] {
  if (changed !== undefined) return changed;
  const place = placeOf(room, context);
  return lastOfEachKey(settledBefore(room.timeline.known, place));
}

/** The events before the place that made current what they say. */
export function settledBefore(known: readonly TimelineEvent[], place: number): readonly Event[] {
  return known.filter(({ position, sidelined }) => position < place && sidelined !== true).map(({ event }) => event);
}

/**
 * What state resolution made current within the timeline, where the timeline does not say so itself: given before it, it
 * stays in force after it.
 */
function resolvedState({ context, room: { timeline } }: Picking): readonly StateEvent[] {
  if (context.useStateAfter) return [];
  const shown = new Set(timeline.events.map(({ event }) => keyOf(event)));
  const later = timeline.known.filter(({ position, sidelined }) => position >= timeline.start && sidelined !== true);
  const last = new Map(later.map((event) => [keyOf(event.event), event]));
  const resolved = [...last.values()].filter(({ isStateChange }) => isStateChange === true);
  return lastOfEachKey(resolved.map(({ event }) => event).filter((event) => !shown.has(keyOf(event))));
}

function withState(refs: readonly StateRef[], resolved: readonly StateEvent[]): readonly StateRef[] {
  if (resolved.length === 0) return refs;
  const keys = new Set(resolved.map(keyOf));
  return [...refs.filter((ref) => !('content' in ref && keys.has(keyOf(ref)))), ...resolved];
}

function keyOf({ type, stateKey }: Pick<Event, 'type' | 'stateKey'>): string {
  return `${type}\u0000${stateKey}`;
}

/** The state events among them that are still in force after the last. */
export function lastOfEachKey(events: readonly Event[]): readonly StateEvent[] {
  const last = new Map<string, StateEvent>();
  for (const event of events) {
    if (event.stateKey === undefined) continue;
    last.set(`${event.type}\u0000${event.stateKey}`, { ...event, stateKey: event.stateKey });
  }
  return [...last.values()];
}

/** Senders of the timeline, heroes, and in a full state the reader; but not what the device has already. */
function neededMembers(
  { options, context, room }: Picking,
  base: readonly StateRef[],
  stateAt: StateAt,
): readonly StateRef[] {
  const { roomId } = room.snapshot;
  const included = new Set(base.map(({ eventId }) => eventId));
  const users = new Set([
    ...(room.isFull ? [context.userId] : []),
    ...room.heroes,
    ...room.timeline.events.map(({ event }) => event.sender),
  ]);
  const redundant = room.isFull || context.filter.includeRedundantMembers;
  const refs: StateRef[] = [];
  for (const userId of users) {
    const ref = stateAt('m.room.member', userId);
    if (ref === undefined || included.has(ref.eventId)) continue;
    if (redundant || !options.session.has(roomId, userId, ref.eventId)) refs.push(ref);
  }
  return refs;
}

async function loadRefs(
  { database }: RoomStatesOptions,
  picked: readonly { readonly room: StateWanted; readonly refs: readonly StateRef[] }[],
): Promise<ReadonlyMap<EventId, StateEvent>> {
  const wanted = picked
    .map(({ room, refs }) => ({
      roomId: room.snapshot.roomId,
      version: room.snapshot.version,
      eventIds: refs.filter((ref) => !('content' in ref)).map(({ eventId }) => eventId),
    }))
    .filter(({ eventIds }) => eventIds.length > 0);
  if (wanted.length === 0) return new Map();
  const found = await listStateByIds(database, wanted);
  return new Map([...found.values()].flat().map((event) => [event.eventId, event]));
}

/** The device knows these members once it has the answer. */
function remember(session: LazySession, { snapshot, timeline }: StateWanted, state: readonly StateEvent[]): void {
  for (const { type, stateKey, eventId } of state) {
    if (type === 'm.room.member') session.add(snapshot.roomId, stateKey, eventId);
  }
  for (const { event } of timeline.events) {
    if (event.type === 'm.room.member' && event.stateKey !== undefined) {
      session.add(snapshot.roomId, event.stateKey, event.eventId);
    }
  }
}
