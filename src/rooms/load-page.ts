/**
 * One page of a timeline: a walk from a place until the page is full, the range is used up, or enough was looked at. Going
 * back it stops at gaps and has them filled; where nobody gives what is missing, it goes on behind them.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
 */
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import type { UserId } from '../protocol/ids.ts';
import type { TimelineEvent } from '../storage/events.ts';
import type { Gaps } from './gaps.ts';
import { isWorldReadable, type ReadableRoom } from './room-access.ts';

/** Bounds one request, whatever the filter lets through; the client goes on from `end`. */
const MAX_SCANNED = 1_000;
/** A page that a filter thinned out is filled up in steps of at least this. */
const MIN_REFILL = 100;
/** Times that one request has other servers asked. */
const MAX_FILLS = 5;

export type EventPredicate = (event: TimelineEvent) => boolean;

export interface PageRequest {
  readonly direction: 'forward' | 'backward';
  /** Positions that the tokens name; without `from`, the newest or the first event. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly limit: number;
  readonly passes: EventPredicate;
}

export interface Page {
  readonly start: number;
  /** Undefined where nothing lies behind. */
  readonly end: number | undefined;
  readonly events: readonly VisibleEvent[];
}

export interface Reader {
  readonly userId: UserId;
}

export interface Viewer {
  readonly reader: Reader;
  readonly room: ReadableRoom;
}

export interface PageOptions {
  readonly engine: Pick<RoomEngine, 'loadTimeline'>;
  readonly visibility: Visibility;
  readonly gaps: Gaps;
}

/** Walks from `from` until the page is full, the range is used up, or enough was looked at. */
export async function loadPage(options: PageOptions, viewer: Viewer, request: PageRequest): Promise<Page> {
  const walk = new Walk(options, viewer, request);
  await walk.start();
  while (await walk.step());
  return walk.page();
}

class Walk {
  readonly #options: PageOptions;
  readonly #viewer: Viewer;
  readonly #request: PageRequest;
  readonly #isBackward: boolean;
  readonly #start: number;
  readonly #events: VisibleEvent[] = [];
  /** What is still to be read, both exclusive. */
  #after: number;
  #before: number;
  #scanned = 0;
  /** The event right behind which, going back, something is missing. */
  #gap: number | undefined;
  #fills = 0;
  /** Nothing was read since a gap that nobody could fill. */
  #isBlocked = false;
  /** Set when the range is used up: where the page ends, if it can be continued. */
  #exhausted: { readonly end: number | undefined } | undefined;

  constructor(options: PageOptions, viewer: Viewer, request: PageRequest) {
    this.#options = options;
    this.#viewer = viewer;
    this.#request = request;
    this.#isBackward = request.direction === 'backward';
    const { after, before } = rangeOf(viewer.room, request);
    this.#after = after;
    this.#before = before;
    this.#start = this.#isBackward ? before - 1 : after;
  }

  async start(): Promise<void> {
    const { from } = this.#request;
    if (!this.#isBackward || from === undefined || this.#before !== from + 1) return;
    this.#gap = await this.#options.gaps.findGap(this.#viewer.room.snapshot.roomId, this.#before);
  }

  /** Whether the walk goes on. */
  async step(): Promise<boolean> {
    if (this.#gap !== undefined && !(await this.#fill(this.#gap))) return false;
    const missing = this.#request.limit - this.#events.length;
    const limit = this.#scanned === 0 ? missing : Math.max(missing, MIN_REFILL);
    const batch = await this.#read(limit);
    const { reader, room } = this.#viewer;
    const visible = await this.#options.visibility.filterVisible(batch, reader, room.snapshot);
    const taken = visible.filter(this.#request.passes).slice(0, missing);
    this.#events.push(...taken);
    this.#scanned += batch.length;
    if (batch.length > 0) this.#isBlocked = false;
    const isFull = this.#events.length >= this.#request.limit;
    const last = isFull && missing > 0 ? taken.at(-1) : batch.at(-1);
    const isLastOfBatch = last === undefined || last.position === batch.at(-1)?.position;
    const isFirstOfRoom = this.#isBackward && last?.event.type === 'm.room.create';
    if (isLastOfBatch && this.#gap === undefined && (batch.length < limit || isFirstOfRoom)) {
      this.#exhausted = { end: this.#endBehind(last) };
      return false;
    }
    if (last !== undefined && this.#isBackward) this.#before = last.position;
    else if (last !== undefined) this.#after = last.position;
    return !isFull && this.#scanned < MAX_SCANNED;
  }

  /** Events up to the next gap, which is noted. */
  async #read(limit: number): Promise<readonly TimelineEvent[]> {
    const { roomId, version } = this.#viewer.room.snapshot;
    const { direction } = this.#request;
    const range = { roomId, version, after: this.#after, before: this.#before, limit, direction };
    const batch = await this.#options.engine.loadTimeline(range);
    const gap = this.#isBackward ? batch.findIndex(({ afterGap }) => afterGap === true) : -1;
    this.#gap = batch[gap]?.position;
    return gap === -1 ? batch : batch.slice(0, gap + 1);
  }

  /** Has the gap filled; whether to read on now. */
  async #fill(gap: number): Promise<boolean> {
    if (gap - 1 <= this.#after) return true;
    if (this.#fills === MAX_FILLS) return false;
    this.#fills += 1;
    const filled = await this.#options.gaps.fill(this.#viewer.room.snapshot.roomId, gap);
    if (filled === 'waiting') return false;
    this.#isBlocked = filled === 'unavailable';
    // No event lies between, and what was found now has to be in the range.
    this.#before = Math.max(this.#before, gap);
    return true;
  }

  /** A page that ends with its range can be continued where `to` or a filter or a gap cut it off. */
  #endBehind(last: TimelineEvent | undefined): number | undefined {
    // An empty page that stopped at `to`, or at a gap, is the last: its client has seen all that there is for now.
    if (this.#events.length === 0) return undefined;
    if (this.#request.to !== undefined) return this.#request.to;
    if (this.#isBlocked) return this.#before - 1;
    // Clients take the end of a page that a filter thinned out for the place to go on with another one.
    const isThinned = this.#events.length < this.#scanned;
    return isThinned && this.#isBackward && last !== undefined ? last.position - 1 : undefined;
  }

  page(): Page {
    const end = this.#isBackward ? this.#before - 1 : this.#after;
    return {
      start: present(this.#start, this.#events),
      end: this.#exhausted === undefined ? end : this.#exhausted.end,
      events: this.#events,
    };
  }
}

/** Without `from`, a backward page starts at the newest event there is. */
function present(start: number, events: readonly VisibleEvent[]): number {
  return start === Number.MAX_SAFE_INTEGER - 1 ? (events[0]?.position ?? 0) : start;
}

interface Range {
  /** Both exclusive. */
  readonly after: number;
  readonly before: number;
}

function rangeOf({ snapshot, until }: ReadableRoom, { direction, from, to }: PageRequest): Range {
  // What came after a user left is not theirs to read, so nothing there is looked at.
  const ends = until === undefined || isWorldReadable(snapshot) ? Number.MAX_SAFE_INTEGER : until.position + 1;
  const [low, high] = direction === 'backward' ? [to, from] : [from, to];
  const before = high === undefined ? ends : Math.min(high + 1, ends);
  return { after: low ?? 0, before };
}
