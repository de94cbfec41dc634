/**
 * Reverse topological power ordering: of all orders in which auth events come before what cites them, the one that
 * prefers powerful senders, then early events, then small ids at each step (Kahn's algorithm with a heap).
 *
 * https://spec.matrix.org/v1.19/rooms/v2/#definitions
 */
import { MinHeap } from '../../lib/min-heap.ts';
import type { EventId } from '../ids.ts';
import type { Event } from '../pdu.ts';
import { getUserLevel } from '../power-levels.ts';
import { compareByTimeAndId } from './compare.ts';
import { authEventsView, type ResolutionContext } from './iterative-auth.ts';

/** Whether `event` might take away someone's ability to do something in the room. */
export function isPowerEvent(event: Event): boolean {
  switch (event.type) {
    case 'm.room.power_levels':
    case 'm.room.join_rules':
      return event.stateKey !== undefined;
    case 'm.room.member': {
      const { membership } = event.content;
      return (membership === 'leave' || membership === 'ban') && isOfAnother(event);
    }
    default:
      return false;
  }
}

function isOfAnother(event: Event): boolean {
  return event.stateKey !== undefined && event.stateKey !== event.sender;
}

/**
 * The power events of `conflicted` with those events of it that they rest on, sorted. Only links between members of
 * `conflicted` are followed and ordered by, as in the servers that these rooms are shared with.
 */
export function sortPowerEvents(conflicted: ReadonlySet<EventId>, context: ResolutionContext): readonly Event[] {
  const selected = selectPowerEvents(conflicted, context);
  const { waiting, citedBy } = linksBetween(selected);
  const ready = new MinHeap<Candidate>(comparePower);
  const admit = (event: Event): void => ready.push({ event, power: senderPower(event, context) });
  for (const event of selected.values()) if (waiting.get(event.eventId) === 0) admit(event);

  // Events in a circle of auth events, possible only where ids are not hashes, never become ready: they stay with the
  // events that are sorted by the mainline.
  const sorted: Event[] = [];
  for (let next = ready.pop(); next !== undefined; next = ready.pop()) {
    sorted.push(next.event);
    for (const citing of citedBy.get(next.event.eventId) ?? []) {
      const left = (waiting.get(citing.eventId) ?? 0) - 1;
      waiting.set(citing.eventId, left);
      if (left === 0) admit(citing);
    }
  }
  return sorted;
}

interface Candidate {
  readonly event: Event;
  readonly power: number;
}

function comparePower(x: Candidate, y: Candidate): number {
  // Creators of a version 12 room have infinite power, which a difference would make NaN.
  if (x.power !== y.power) return x.power > y.power ? -1 : 1;
  return compareByTimeAndId(x.event, y.event);
}

/** The power level of the sender by the auth events of `event`, not by any state of the room. */
function senderPower(event: Event, context: ResolutionContext): number {
  return getUserLevel(authEventsView(event, context), event.sender, context.version);
}

function selectPowerEvents(
  conflicted: ReadonlySet<EventId>,
  { events }: ResolutionContext,
): ReadonlyMap<EventId, Event> {
  const selected = new Map<EventId, Event>();
  const stack: Event[] = [];
  const select = (event: Event): void => {
    if (selected.has(event.eventId)) return;
    selected.set(event.eventId, event);
    stack.push(event);
  };
  for (const id of conflicted) {
    const event = events(id);
    if (event !== undefined && isPowerEvent(event)) select(event);
  }
  for (let event = stack.pop(); event !== undefined; event = stack.pop()) {
    for (const id of event.authEvents) {
      const authEvent = conflicted.has(id) ? events(id) : undefined;
      if (authEvent !== undefined) select(authEvent);
    }
  }
  return selected;
}

interface Links {
  /** How many of its auth events an event still waits for. */
  readonly waiting: Map<EventId, number>;
  readonly citedBy: ReadonlyMap<EventId, readonly Event[]>;
}

function linksBetween(selected: ReadonlyMap<EventId, Event>): Links {
  const waiting = new Map<EventId, number>();
  const citedBy = new Map<EventId, Event[]>();
  for (const event of selected.values()) {
    const authIds = new Set(event.authEvents.filter((id) => selected.has(id)));
    waiting.set(event.eventId, authIds.size);
    for (const id of authIds) {
      const citing = citedBy.get(id);
      if (citing === undefined) citedBy.set(id, [event]);
      else citing.push(event);
    }
  }
  return { waiting, citedBy };
}
