/**
 * Rooms that the user left or was banned from: what happened up to that event and never anything after it. State only
 * for those who were in the room: who declined an invitation learns nothing of it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_left-room
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { StateEvent } from '../protocol/pdu.ts';
import type { AccountDataRow } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { listStateChanges } from '../storage/sync-queries.ts';
import { renderTimelineEvents } from './joined-rooms.ts';
import { type RoomText, renderAccountData, renderRoom, stateSection } from './render.ts';
import { lastOfEachKey, settledBefore } from './room-states.ts';
import type { Timeline, TimelineWanted } from './timelines.ts';
import type { RoomChange, SyncContext } from './types.ts';

export interface LeftRoom {
  readonly snapshot: RoomSnapshot;
  readonly change: RoomChange;
  /** Where the event stands that ended the membership. */
  readonly leftAt: number;
}

export interface LeftRoomsOptions {
  readonly database: Transaction;
  readonly engine: Pick<RoomEngine, 'loadStateAt' | 'loadTimeline'>;
  readonly formatPosition: (position: number) => string;
  /** What of the user's data for the rooms changed. */
  readonly accountData: readonly AccountDataRow[];
}

export function leftTimeline({ after }: SyncContext, { snapshot, leftAt }: LeftRoom): TimelineWanted {
  return { snapshot, after, upTo: leftAt };
}

/** The text of an entry in `rooms.leave`. */
export async function renderLeftRoom(
  options: LeftRoomsOptions,
  context: SyncContext,
  { room, timeline }: { readonly room: LeftRoom; readonly timeline: Timeline },
): Promise<RoomText> {
  const { filter, useStateAfter } = context;
  const { roomId } = room.snapshot;
  const all = await loadState(options, context, { room, timeline });
  const state = all
    .filter((event) => filter.state({ ...event, roomId }))
    .filter((event) => !filter.lazyLoadMembers || isNeeded(event, context, timeline))
    .map((event) => filter.renderState(event));
  return renderRoom({
    timeline: {
      ...renderTimelineEvents(context, timeline),
      limited: timeline.limited,
      prevBatch: options.formatPosition(timeline.start - 1),
    },
    state: stateSection(useStateAfter, state),
    accountData: options.accountData
      .filter((row) => row.roomId === roomId && filter.roomAccountData({ type: row.type, roomId }))
      .map(({ type, content }) => renderAccountData(type, content)),
  });
}

interface Left {
  readonly room: LeftRoom;
  readonly timeline: Timeline;
}

async function loadState(options: LeftRoomsOptions, context: SyncContext, left: Left): Promise<readonly StateEvent[]> {
  const leave = await loadLeave(options, left);
  if (leave === undefined) return [];
  // After the timeline stands the user's own membership in any case, which they may see.
  if (leave.replaces?.content['membership'] !== 'join')
    return context.useStateAfter ? lastOfEachKey([leave.event]) : [];
  const { room, timeline } = left;
  const place = context.useStateAfter ? room.leftAt + 1 : timeline.start;
  const isDelta = context.after > 0 && room.change.earlier === 'join' && !context.fullState;
  if (isDelta) return loadChanges(options, { left, after: context.after, place });
  const first = timeline.known.find(({ position }) => position >= place);
  const stateNid = first === undefined ? leave.stateAfter : first.stateBefore;
  return stateNid === null ? [] : options.engine.loadStateAt(room.snapshot.roomId, stateNid);
}

/** The event that ended the membership: the last of the timeline's range. */
async function loadLeave({ engine }: LeftRoomsOptions, { room, timeline }: Left): Promise<TimelineEvent | undefined> {
  const known = timeline.known.at(-1);
  if (known?.position === room.leftAt) return known;
  const { roomId, version } = room.snapshot;
  const range = { roomId, version, after: room.leftAt - 1, before: room.leftAt + 1, limit: 1 };
  return (await engine.loadTimeline({ ...range, direction: 'backward' }))[0];
}

async function loadChanges(
  { database }: LeftRoomsOptions,
  { left, after, place }: { readonly left: Left; readonly after: number; readonly place: number },
): Promise<readonly StateEvent[]> {
  const { timeline, room } = left;
  if (timeline.knownFrom <= after) {
    return lastOfEachKey(settledBefore(timeline.known, place));
  }
  const { roomId, version } = room.snapshot;
  return (await listStateChanges(database, [{ roomId, version, after, upTo: place - 1 }])).get(roomId) ?? [];
}

function isNeeded(event: StateEvent, { userId }: SyncContext, { events }: Timeline): boolean {
  if (event.type !== 'm.room.member' || event.stateKey === userId) return true;
  return events.some(({ event: { sender } }) => sender === event.stateKey);
}
