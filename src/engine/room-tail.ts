/**
 * The newest events of a room, in memory: every accepted event after `from`, so that live readers and first syncs need no
 * query. Bounded; what falls off the front moves `from`.
 */
import type { EventId } from '../protocol/ids.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { redactEvent, type StoredEvent, type TimelineEvent, type TimelineRange } from '../storage/events.ts';

/** Enough for the default timeline of a sync several times over; about 2 KB an event. */
const MAX_TAIL_EVENTS = 64;
/** With what somebody read before them: the newest page of `/messages` fits in whole. */
const MAX_READ_EVENTS = 128;

export class RoomTail {
  #events: TimelineEvent[] = [];
  #from: number;

  /** `from`: the room's last position; nothing before it is known yet. */
  constructor(from: number) {
    this.#from = from;
  }

  get lastPosition(): number {
    return this.#events.at(-1)?.position ?? this.#from;
  }

  get size(): number {
    return this.#events.length;
  }

  /** Behind a gap the tail begins anew: what fills the gap lies before it then. */
  append(event: TimelineEvent): void {
    if (event.afterGap === true) {
      this.#events = [];
      this.#from = event.position - 1;
    }
    this.#events.push(event);
    // Two for each that came: what was read shrinks away as it grows old.
    for (let shift = 0; shift < 2 && this.#events.length > MAX_TAIL_EVENTS; shift++) {
      this.#from = this.#events.shift()?.position ?? this.#from;
    }
  }

  /** Puts what a query found right before the tail into it, oldest first; `start`: nothing lies between it and them. */
  prepend(found: readonly TimelineEvent[], start: number): void {
    if (this.#events[0]?.afterGap === true) return;
    const gap = found.findLastIndex(({ afterGap }) => afterGap === true);
    const events = found.slice(Math.max(gap, 0));
    const from = gap === -1 ? start : (events[0]?.position ?? start) - 1;
    const room = MAX_READ_EVENTS - this.#events.length;
    const taken = room > 0 ? events.slice(-room) : [];
    if (taken.length === 0 && events.length > 0) return;
    this.#from = taken.length < events.length ? (events.at(-taken.length - 1)?.position ?? from) : from;
    this.#events = [...taken, ...this.#events];
  }

  /** Takes the content out of an event that was redacted, and out of the one that replaced it as state. */
  redact(target: { nid: number; eventId: EventId }, redaction: StoredEvent, version: RoomVersion): void {
    this.#events = this.#events.map((event) => {
      if (event.nid === target.nid) {
        return { ...event, event: redactEvent(event.event, version), redactedBecause: redaction.event };
      }
      const { replaces } = event;
      if (replaces?.eventId !== target.eventId) return event;
      // What it replaced was of its own type, which is all that redaction looks at besides the content.
      const { content } = redactPdu({ ...event.event.pdu, content: replaces.content }, version);
      return { ...event, replaces: { ...replaces, content } };
    });
  }

  find(eventId: EventId): TimelineEvent | undefined {
    return this.#events.findLast(({ event, isStateChange }) => event.eventId === eventId && isStateChange !== true);
  }

  /** All events after the position, or undefined where the tail does not reach back so far. */
  after(position: number): readonly TimelineEvent[] | undefined {
    if (position < this.#from) return undefined;
    const first = this.#events.findIndex((event) => event.position > position);
    return first === -1 ? [] : this.#events.slice(first);
  }

  /** What a query for this range would find, or undefined where only the database knows. */
  read(range: TimelineRange): readonly TimelineEvent[] | undefined {
    const inRange = this.#events.filter(({ position }) => position > range.after && position < range.before);
    const isWhole = range.after >= this.#from;
    if (range.direction === 'forward') return isWhole ? inRange.slice(0, range.limit) : undefined;
    return isWhole || inRange.length >= range.limit ? inRange.slice(-range.limit).reverse() : undefined;
  }

  /** Where the database has to be asked from. */
  get from(): number {
    return this.#from;
  }
}
