/**
 * The joined rooms of an answer: timeline, state, ephemeral events, account data and summary of each room in which
 * something happened for the user.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync_response-200_joined-room
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { AccountDataRow } from '../storage/account-data.ts';
import type { ReceiptRow } from '../storage/receipts.ts';
import { renderReceipts, renderTyping } from './ephemeral-events.ts';
import { type RoomText, renderAccountData, renderRoom, type StateTexts, stateSection } from './render.ts';
import { loadRoomStates, type RoomStatesOptions } from './room-states.ts';
import { getHeroes, renderSummary } from './summary.ts';
import type { Timeline, TimelineWanted } from './timelines.ts';
import type { RoomChange, SyncContext, UnreadReader } from './types.ts';
import { renderUnread } from './unread-notifications.ts';

/** A joined room that belongs into the answer, or may. */
export interface JoinedRoom {
  readonly snapshot: RoomSnapshot;
  /** Undefined where only something beside the events changed. */
  readonly change: RoomChange | undefined;
  readonly receipts: readonly ReceiptRow[];
  readonly accountData: readonly AccountDataRow[];
  /** Who types, where that changed. */
  readonly typing: readonly string[] | undefined;
}

export interface JoinedRoomsOptions extends RoomStatesOptions {
  readonly upTo: number;
  readonly timelines: ReadonlyMap<RoomId, Timeline>;
  readonly formatPosition: (position: number) => string;
  readonly unreadCounts: Awaited<ReturnType<UnreadReader['count']>>;
}

/** Whether the client gets the whole state: it has never had it, or lost track of it. */
export function isNewlyJoined({ after }: SyncContext, change: RoomChange): boolean {
  return after === 0 || change.earlier !== 'join';
}

/** Whether the client may have seen the room before it joined it now. */
function isRejoined({ after }: SyncContext, change: RoomChange): boolean {
  return after > 0 && (change.earlier === 'leave' || change.earlier === 'ban');
}

/** The timeline of a joined room: of a newly joined one the newest events, whatever the token; else what came since. */
export function joinedTimeline(
  context: SyncContext,
  { change, snapshot, upTo }: { readonly change: RoomChange; readonly snapshot: RoomSnapshot; readonly upTo: number },
): TimelineWanted {
  const fromStart = isNewlyJoined(context, change) && !isRejoined(context, change);
  return { snapshot, after: fromStart ? 0 : context.after, upTo };
}

/** The texts of the rooms that have something to tell. */
export async function renderJoinedRooms(
  options: JoinedRoomsOptions,
  context: SyncContext,
  rooms: readonly JoinedRoom[],
): Promise<ReadonlyMap<RoomId, RoomText>> {
  const prepared: Prepared[] = [];
  for (const room of rooms) {
    prepared.push(prepare(options, context, room));
    await options.breathe();
  }
  const states = await loadRoomStates(
    options,
    context,
    prepared.flatMap(({ stateWanted }) => stateWanted ?? []),
  );
  const texts = new Map<RoomId, RoomText>();
  for (const room of prepared) {
    const text = renderPrepared(options, context, { room, state: states.get(room.roomId) ?? [] });
    if (text !== undefined) texts.set(room.roomId, text);
    await options.breathe();
  }
  return texts;
}

interface Prepared extends JoinedRoom {
  readonly roomId: RoomId;
  readonly timeline: Timeline | undefined;
  readonly isFull: boolean;
  readonly stateWanted: Parameters<typeof loadRoomStates>[2][number] | undefined;
  readonly summary: JsonObject | undefined;
}

function prepare(options: JoinedRoomsOptions, context: SyncContext, room: JoinedRoom): Prepared {
  const { snapshot, change } = room;
  const { roomId } = snapshot;
  const timeline = change === undefined ? undefined : options.timelines.get(roomId);
  if (change === undefined || timeline === undefined) {
    return { ...room, roomId, timeline: undefined, isFull: false, stateWanted: undefined, summary: undefined };
  }
  const isFull = context.fullState || isNewlyJoined(context, change);
  const hasSummary = isFull || snapshot.parts.completeFrom > context.after || changesSummary(timeline, context);
  const heroes = hasSummary ? getHeroes(snapshot, context.userId) : [];
  const stateWanted = { snapshot, timeline, isFull, after: context.after, upTo: options.upTo, heroes };
  const summary = hasSummary ? renderSummary(snapshot, heroes) : undefined;
  return { ...room, roomId, timeline, isFull, stateWanted, summary };
}

/** Who is in the room counts, and for the heroes whether it has a name. */
const SUMMARY_TYPES: ReadonlySet<string> = new Set(['m.room.member', 'm.room.name', 'm.room.canonical_alias']);

/** Where memory does not know all that happened since the token, the summary may have changed. */
function changesSummary({ known, knownFrom }: Timeline, { after }: SyncContext): boolean {
  return knownFrom > after || known.some(({ event }) => event.stateKey !== undefined && SUMMARY_TYPES.has(event.type));
}

interface Rendering {
  readonly room: Prepared;
  readonly state: StateTexts;
}

function renderPrepared(
  options: JoinedRoomsOptions,
  context: SyncContext,
  { room, state }: Rendering,
): RoomText | undefined {
  const { filter } = context;
  const { timeline, isFull, summary } = room;
  const ephemeral = renderEphemeral(context, room);
  const accountData = room.accountData
    .filter(({ type }) => filter.roomAccountData({ type, roomId: room.roomId }))
    .map(({ type, content }) => renderAccountData(type, content));
  const hasNews =
    timeline !== undefined &&
    (timeline.events.length > 0 || timeline.restated.length > 0 || timeline.limited || summary !== undefined);
  // Where the reader has read on, the counts changed, whether or not they want to hear of receipts.
  const hasRead = room.receipts.some(({ userId }) => userId === context.userId);
  if (!isFull && !hasRead && !hasNews && state.length === 0 && ephemeral.length === 0 && accountData.length === 0)
    return undefined;
  return renderRoom({
    timeline: renderTimeline(options, context, room),
    state: stateSection(context.useStateAfter, state),
    // Whoever gets all of a room is told as well that nothing of the kind goes on.
    ...((isFull || ephemeral.length > 0) && { ephemeral }),
    // A room that comes whole says that there is none, or that what there was has been deleted.
    ...(isFull || accountData.length > 0 ? { accountData } : undefined),
    summary,
    ...renderUnread(context, options.unreadCounts?.get(room.roomId)),
  });
}

function renderTimeline({ upTo, formatPosition }: JoinedRoomsOptions, context: SyncContext, room: Prepared) {
  const { timeline, change } = room;
  if (timeline === undefined) return { events: [], limited: false, prevBatch: formatPosition(upTo) };
  // Clients take a timeline that is not limited for all there is since they last looked, and join it to what they have.
  const isNew = context.after > 0 && change !== undefined && isNewlyJoined(context, change);
  const limited = timeline.limited || isNew;
  return { ...renderTimelineEvents(context, timeline), limited, prevBatch: formatPosition(timeline.start - 1) };
}

/** The events of a timeline, each as its reader may see it. */
export function renderTimelineEvents(
  { filter, userId, deviceId, now }: SyncContext,
  { events, restated }: Timeline,
): { readonly events: readonly string[] } {
  return { events: [...events, ...restated].map((event) => filter.renderEvent(event, { userId, deviceId }, now)) };
}

function renderEphemeral({ filter }: SyncContext, { roomId, receipts, typing }: Prepared): readonly string[] {
  const texts: string[] = [];
  if (typing !== undefined && filter.ephemeral({ type: 'm.typing', roomId })) texts.push(renderTyping(typing));
  if (receipts.length > 0 && filter.ephemeral({ type: 'm.receipt', roomId })) texts.push(...renderReceipts(receipts));
  return texts;
}
