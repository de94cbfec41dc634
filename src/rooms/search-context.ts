/**
 * What was said around the events that a search found: for all of them together, with a number of statements that grows
 * with their rooms only.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility, VisibleEvent } from '../engine/visible-events.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from '../storage/database.ts';
import { listNearby, type NearbyEvent } from '../storage/search.ts';
import { isIgnored } from './ignored-users.ts';
import type { Reader } from './load-page.ts';
import { loadRelated } from './load-related.ts';

export interface ContextSize {
  readonly before: number;
  readonly after: number;
  readonly includeProfile: boolean;
}

export interface SearchContext {
  /** Newest first. */
  readonly before: readonly VisibleEvent[];
  /** Oldest first. */
  readonly after: readonly VisibleEvent[];
  /** Positions before the oldest and of the newest of the events. */
  readonly start: number;
  readonly end: number;
  /** By user id; undefined where it was not asked for. */
  readonly profiles: Readonly<Record<string, JsonObject>> | undefined;
}

interface Options {
  readonly engine: Pick<RoomEngine, 'loadStateEntries'>;
  readonly database: Transaction;
  readonly visibility: Visibility;
}

interface View {
  readonly reader: Reader;
  readonly ignored: ReadonlySet<string>;
  readonly snapshots: ReadonlyMap<RoomId, RoomSnapshot>;
}

interface Wanted {
  readonly events: readonly VisibleEvent[];
  readonly size: ContextSize;
}

/** The contexts by the numeric id of the event. */
export async function loadSearchContexts(
  options: Options,
  view: View,
  { events, size }: Wanted,
): Promise<ReadonlyMap<number, SearchContext>> {
  const places = events.map(({ event, position }) => ({ roomId: event.roomId, position }));
  const nearby = await listNearby(options.database, places, size);
  const byRoom = Map.groupBy(events, ({ event }) => event.roomId);
  const contexts = await Promise.all(
    [...byRoom].map(([roomId, ofRoom]) => {
      const snapshot = view.snapshots.get(roomId);
      const near = nearby.filter(({ index }) => events[index]?.event.roomId === roomId);
      return snapshot === undefined
        ? []
        : loadOfRoom(options, { ...view, snapshot }, { events: ofRoom, all: events, near, size });
    }),
  );
  return new Map(contexts.flat());
}

interface RoomView extends View {
  readonly snapshot: RoomSnapshot;
}

interface RoomWanted extends Wanted {
  /** What the indexes of `near` count. */
  readonly all: readonly VisibleEvent[];
  readonly near: readonly NearbyEvent[];
}

async function loadOfRoom(
  options: Options,
  view: RoomView,
  { events, all, near, size }: RoomWanted,
): Promise<readonly [number, SearchContext][]> {
  const distinct = [...new Map(near.map((event) => [event.nid, event])).values()];
  const stored = await loadRelated(options.database, view.snapshot.version, distinct);
  const visible = await options.visibility.filterVisible(stored, view.reader, view.snapshot);
  const shown = new Map(
    visible.filter(({ event }) => !isIgnored(event, view.ignored)).map((event) => [event.nid, event]),
  );
  const surroundings = events.map((event) => {
    const around = near
      .filter(({ index }) => all[index] === event)
      .flatMap(({ nid }) => shown.get(nid) ?? [])
      .sort((a, b) => a.position - b.position);
    const before = around.filter(({ position }) => position < event.position).reverse();
    return { event, before, after: around.filter(({ position }) => position > event.position) };
  });
  const profilesOf = size.includeProfile ? await loadProfiles(options, view.snapshot, surroundings) : undefined;
  return surroundings.map((around): [number, SearchContext] => {
    const { event, before, after } = around;
    return [
      event.nid,
      {
        before,
        after,
        start: (before.at(-1) ?? event).position - 1,
        end: (after.at(-1) ?? event).position,
        profiles: profilesOf?.(around),
      },
    ];
  });
}

interface Surrounding {
  readonly event: VisibleEvent;
  readonly before: readonly VisibleEvent[];
  readonly after: readonly VisibleEvent[];
}

/** How the senders called themselves at the event that was found. */
async function loadProfiles(
  { engine }: Options,
  { roomId }: RoomSnapshot,
  surroundings: readonly Surrounding[],
): Promise<(around: Surrounding) => Readonly<Record<string, JsonObject>>> {
  const senders = (around: Surrounding): ReadonlySet<string> =>
    new Set([around.event, ...around.before, ...around.after].map(({ event }) => event.sender));
  const snapshotNids = [...new Set(surroundings.flatMap(({ event }) => event.stateAfter ?? []))];
  const keys = [...new Set(surroundings.flatMap((around) => [...senders(around)]))].map((stateKey) => ({
    type: 'm.room.member',
    stateKey,
  }));
  const entries = await engine.loadStateEntries(roomId, { snapshotNids, keys });
  return (around) => {
    const { stateAfter } = around.event;
    const profiles = [...senders(around)].flatMap((sender): [string, JsonObject][] => {
      const content = stateAfter === null ? undefined : entries.get(stateAfter, 'm.room.member', sender)?.content;
      return content === undefined ? [] : [[sender, toProfile(content)]];
    });
    return Object.fromEntries(profiles);
  };
}

function toProfile({ displayname, avatar_url: avatarUrl }: JsonObject): JsonObject {
  return {
    ...(typeof displayname === 'string' && { displayname }),
    ...(typeof avatarUrl === 'string' && { avatar_url: avatarUrl }),
  };
}
