/**
 * Which events of a room a user may see: history visibility and the user's membership, both at the event itself. State
 * at an event is read from the database only where it cannot be told from memory. What can: an event changes exactly one
 * entry of the state and names what it replaced, so from a known state one can step to the states right before and after
 * it. A page that ends at the present needs no read at all, and any other page needs one.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { isVisible } from '../protocol/visibility.ts';
import type { Transaction } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { loadLastJoin } from '../storage/sync-queries.ts';
import { type Membership, membershipIn, type RoomSnapshot } from './room-snapshot.ts';
import type { RoomEngine } from './types.ts';

const VISIBILITY_TYPE = 'm.room.history_visibility';
const MEMBER_TYPE = 'm.room.member';
/** Events that servers send to tie the ends of forks together: no user means anything by them. */
export const DUMMY_TYPE = 'org.matrix.dummy_event';

export interface VisibleEvent extends TimelineEvent {
  /** The reader's membership at the event, including what the event did to it. */
  readonly readerMembership: Membership;
}

export interface Visibility {
  /** Those of the events that the user may see, in their order. */
  filterVisible(
    events: readonly TimelineEvent[],
    reader: { readonly userId: UserId },
    snapshot: RoomSnapshot,
  ): Promise<readonly VisibleEvent[]>;
}

export interface VisibilityOptions {
  readonly engine: Pick<RoomEngine, 'loadStateEntries'>;
  readonly database: Transaction;
}

export function createVisibility({ engine, database }: VisibilityOptions): Visibility {
  return {
    async filterVisible(events, { userId }, snapshot) {
      if (events.length === 0) return [];
      const facts = new StateFacts(userId, snapshot);
      facts.learnFrom(events);
      const unknown = facts.unknownIn(events);
      if (unknown.length > 0) await facts.load(engine, snapshot.roomId, unknown);
      const joinedUntil = await lastJoin(database, { events, userId, snapshot, facts });
      return events.flatMap((event) => decide(event, facts, joinedUntil) ?? []);
    },
  };
}

/** What the decision reads of the state before or after an event; undefined where there is no such state event. */
interface Facts {
  readonly visibility: string | undefined;
  readonly membership: Membership | undefined;
}

const NO_STATE: Facts = { visibility: undefined, membership: undefined };

function decide(event: TimelineEvent, facts: StateFacts, joinedUntil: number): VisibleEvent | undefined {
  if (event.event.type === DUMMY_TYPE) return undefined;
  // Only a create event has a state after it and none before.
  const before = event.stateBefore === null ? NO_STATE : facts.at(event.stateBefore);
  const after = facts.at(event.stateAfter);
  // Without the state at the event nobody can say who may see it.
  if (before === undefined || after === undefined) return undefined;
  const visible = isVisible({
    before,
    after,
    event: event.event,
    userId: facts.userId,
    joinedLater: event.position < joinedUntil,
  });
  return visible ? { ...event, readerMembership: after.membership ?? 'leave' } : undefined;
}

interface Question {
  readonly events: readonly TimelineEvent[];
  readonly userId: UserId;
  readonly snapshot: RoomSnapshot;
  readonly facts: StateFacts;
}

/** The position before which every event has a join of the user after it. */
async function lastJoin(tx: Transaction, { events, userId, snapshot, facts }: Question): Promise<number> {
  if (snapshot.membershipOf(userId) === 'join') return Number.POSITIVE_INFINITY;
  const matters = events.some(({ stateAfter }) => facts.at(stateAfter)?.membership !== 'join');
  if (!matters) return Number.NEGATIVE_INFINITY;
  return (await loadLastJoin(tx, snapshot.roomId, userId)) ?? Number.NEGATIVE_INFINITY;
}

/** What is known of the states around some events, for one reader. A value of null: that state has no such event. */
class StateFacts {
  readonly userId: UserId;
  readonly #visibility = new Map<number, string | null>();
  readonly #membership = new Map<number, Membership | null>();

  constructor(userId: UserId, snapshot: RoomSnapshot) {
    this.userId = userId;
    const { stateNid } = snapshot.parts;
    if (stateNid === null) return;
    this.#visibility.set(stateNid, visibilityIn(snapshot.get(VISIBILITY_TYPE, '')?.content));
    this.#membership.set(stateNid, snapshot.membershipOf(userId) ?? null);
  }

  at(snapshotNid: number | null): Facts | undefined {
    if (snapshotNid === null) return undefined;
    const membership = this.#membership.get(snapshotNid);
    if (membership === undefined) return undefined;
    // A member sees every event, whatever the visibility is; anybody else needs to know it.
    const visibility = this.#visibility.get(snapshotNid) ?? undefined;
    return { visibility, membership: membership ?? undefined };
  }

  /** Steps from known states to their neighbors: newest to oldest first, since the present is known. */
  learnFrom(events: readonly TimelineEvent[]): void {
    const newestFirst = events.toSorted((a, b) => b.position - a.position);
    for (const event of newestFirst) this.#stepBack(event);
    for (const event of newestFirst.reverse()) this.#stepForward(event);
  }

  /** The states that a decision about these events still needs. */
  unknownIn(events: readonly TimelineEvent[]): readonly number[] {
    const undecided = events.filter((event) => !this.#isOwnMembership(event));
    const nids = new Set(undecided.flatMap(({ stateBefore, stateAfter }) => [stateBefore, stateAfter]));
    return [...nids].filter((nid) => nid !== null).filter((nid) => !this.#isEnough(nid));
  }

  /** Shown to its user whatever the visibility is; what the membership was before and after it, it says itself. */
  #isOwnMembership({ event }: TimelineEvent): boolean {
    return event.type === MEMBER_TYPE && event.stateKey === this.userId;
  }

  async load(engine: VisibilityOptions['engine'], roomId: RoomId, snapshotNids: readonly number[]): Promise<void> {
    const keys = [
      { type: VISIBILITY_TYPE, stateKey: '' },
      { type: MEMBER_TYPE, stateKey: this.userId },
    ];
    const entries = await engine.loadStateEntries(roomId, { snapshotNids, keys });
    for (const nid of snapshotNids) {
      this.#visibility.set(nid, visibilityIn(entries.get(nid, VISIBILITY_TYPE, '')?.content));
      this.#membership.set(nid, membershipIn(entries.get(nid, MEMBER_TYPE, this.userId)?.content) ?? null);
    }
  }

  #isEnough(nid: number): boolean {
    const membership = this.#membership.get(nid);
    return membership === 'join' || (membership !== undefined && this.#visibility.has(nid));
  }

  #stepBack(step: TimelineEvent): void {
    const { event, replaces, stateBefore, stateAfter } = step;
    if (stateBefore === null || stateAfter === null) return;
    if (event.type === VISIBILITY_TYPE && event.stateKey === '') {
      this.#visibility.set(stateAfter, visibilityIn(event.content));
      this.#visibility.set(stateBefore, visibilityIn(replaces?.content));
    } else copy(this.#visibility, stateAfter, stateBefore);
    if (this.#isOwnMembership(step)) {
      this.#membership.set(stateAfter, membershipIn(event.content) ?? null);
      this.#membership.set(stateBefore, membershipIn(replaces?.content) ?? null);
    } else copy(this.#membership, stateAfter, stateBefore);
  }

  /** The events that touch what we look at have said all they know on the way back. */
  #stepForward(step: TimelineEvent): void {
    const { event, stateBefore, stateAfter } = step;
    if (stateBefore === null || stateAfter === null) return;
    if (event.type !== VISIBILITY_TYPE || event.stateKey !== '') copy(this.#visibility, stateBefore, stateAfter);
    if (!this.#isOwnMembership(step)) copy(this.#membership, stateBefore, stateAfter);
  }
}

function copy<V>(values: Map<number, V>, from: number, to: number): void {
  const value = values.get(from);
  if (value !== undefined && !values.has(to)) values.set(to, value);
}

function visibilityIn(content: JsonObject | undefined): string | null {
  const value = content?.['history_visibility'];
  return typeof value === 'string' ? value : null;
}
