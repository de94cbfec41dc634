/**
 * One attempt at an answer: takes what changed, sorts the rooms into sections, and lets each section render itself. All
 * questions to the database are asked for all rooms together; who wants all rooms comes with a few at a time.
 */

import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Visibility } from '../engine/visible-events.ts';
import { createBreather } from '../lib/breather.ts';
import type { Clock } from '../lib/clock.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import type { RoomId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import { restoreRuleset } from '../protocol/push-rules-default.ts';
import { type AccountDataRow, listAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import { listNewestReceipts, type ReceiptRow } from '../storage/receipts.ts';
import type { TypingPosition } from '../streams/sync-token.ts';
import type { FullStateTexts } from './full-state-texts.ts';
import { renderInvitedRoom, renderKnockedRoom } from './invited-rooms.ts';
import { isNewlyJoined, type JoinedRoom, joinedTimeline, renderJoinedRooms } from './joined-rooms.ts';
import type { LazySession } from './lazy-members.ts';
import { type LeftRoom, leftTimeline, renderLeftRoom } from './left-rooms.ts';
import { renderOutsideRooms } from './outside-rooms.ts';
import { withoutPartial } from './partial-rooms.ts';
import { type PresenceParts, type PresenceWanted, renderPresence } from './presence.ts';
import {
  type RoomText,
  type RoomTexts,
  renderAccountData,
  renderRoom,
  type SyncAnswer,
  stateSection,
} from './render.ts';
import { loadTimelines, type Timeline } from './timelines.ts';
import { hidesInvitesOf, type RoomChange, type SyncChanges, type SyncContext, type UnreadReader } from './types.ts';

export interface AnswerOptions {
  readonly database: Transaction;
  readonly engine: Pick<
    RoomEngine,
    'getSnapshot' | 'loadSnapshots' | 'getRecent' | 'loadNewest' | 'loadTimeline' | 'loadStateAt'
  >;
  readonly visibility: Visibility;
  readonly typing: TypingReader;
  readonly unread: UnreadReader;
  readonly fullStates: FullStateTexts;
  readonly presenceParts: PresenceParts | undefined;
  readonly clock: Clock;
}

/** What a sync reads of typing. */
export interface TypingReader {
  getChanged(after: TypingPosition | undefined): readonly RoomId[];
  getTyping(roomId: RoomId): readonly string[];
}

export interface RoomsAttempt {
  readonly changes: SyncChanges;
  /** Rooms where who types may have changed for the reader. */
  readonly typingRooms: readonly RoomId[];
  readonly session: LazySession;
  readonly nextBatch: string;
  readonly formatPosition: (position: number) => string;
}

export interface Attempt extends RoomsAttempt {
  /** The reader's serial of presence. */
  readonly presenceAfter: number | undefined;
}

/** Receipts of a room that a client gets when it first sees it: more names than any client shows. */
const MAX_FIRST_RECEIPTS = 200;

export async function buildAnswer(options: AnswerOptions, context: SyncContext, attempt: Attempt): Promise<SyncAnswer> {
  const { gathered, ...rooms } = await buildRooms(options, context, attempt);
  const wanted = presenceWanted(context, attempt, gathered);
  return {
    nextBatch: attempt.nextBatch,
    accountData: renderGlobalAccountData(context, attempt.changes.accountData),
    presence: await renderPresence(options.presenceParts, context, wanted),
    ...rooms,
  };
}

/** The sections of the rooms, and what they were made from. */
export async function buildRooms(
  options: AnswerOptions,
  context: SyncContext,
  attempt: RoomsAttempt,
): Promise<RoomTexts & { readonly gathered: Gathered }> {
  const { typingRooms } = attempt;
  const relevant = { ...attempt.changes, rooms: attempt.changes.rooms.filter((room) => isRelevant(context, room)) };
  const loaded = await loadSnapshots(options, context, { changes: relevant, typingRooms });
  const seen = withoutPartial(context, { rooms: relevant.rooms, snapshots: loaded });
  const { snapshots } = seen;
  const changes = { ...relevant, rooms: seen.rooms };
  const rooms = sortRooms(context, changes, snapshots);
  const joined = await gatherJoined(options, context, { changes, snapshots, changed: rooms.joined, typingRooms });
  const joinedIds = joined.map(({ snapshot }) => snapshot.roomId);
  const unreadCounts = await options.unread.count(context.userId, joinedIds, changes.position);
  const timelines = await loadTimelines(options, context, [
    ...joined.flatMap(({ snapshot, change }) =>
      change === undefined ? [] : [joinedTimeline(context, { snapshot, change, upTo: changes.position })],
    ),
    ...rooms.left.map((room) => leftTimeline(context, room)),
  ]);
  const { session, formatPosition } = attempt;
  const breathe = createBreather(options.clock);
  const sections = { ...options, breathe, session, formatPosition, timelines, unreadCounts, upTo: changes.position };
  const outside = renderOutsideRooms(context, changes.outside, formatPosition);
  return {
    gathered: { joined, timelines },
    join: await renderJoinedRooms(sections, context, joined),
    invite: new Map([
      ...rooms.invited.map((room) => [room.roomId, renderInvitedRoom(room, context.userId)] as const),
      ...outside.invite,
    ]),
    knock: new Map([
      ...rooms.knocked.map((room) => [room.roomId, renderKnockedRoom(room, context.userId)] as const),
      ...outside.knock,
    ]),
    leave: new Map([
      ...(await renderLeft({ ...sections, accountData: changes.accountData }, context, rooms.left)),
      ...renderDeleted(context, changes.deletedRooms, formatPosition),
      ...outside.leave,
    ]),
  };
}

interface Gathered {
  readonly joined: readonly JoinedRoom[];
  readonly timelines: ReadonlyMap<RoomId, Timeline>;
}

/** A reader who gets everything anyway needs no look at single rooms. */
function presenceWanted(
  context: SyncContext,
  { presenceAfter }: Attempt,
  { joined, timelines }: Gathered,
): PresenceWanted {
  if (presenceAfter === undefined) return { after: undefined, newRooms: [], timelines: [] };
  const isNew = ({ change }: JoinedRoom): boolean => change !== undefined && isNewlyJoined(context, change);
  return {
    after: presenceAfter,
    newRooms: joined.filter(isNew).map(({ snapshot }) => snapshot),
    timelines: joined.filter((room) => !isNew(room)).flatMap(({ snapshot }) => timelines.get(snapshot.roomId) ?? []),
  };
}

/** Rooms that were left long ago are not even loaded. */
function isRelevant({ after, filter }: SyncContext, change: RoomChange): boolean {
  if (!filter.includesRoom(change.roomId)) return false;
  if (change.membership === 'join') return true;
  const isInvited = change.membership === 'invite' || change.membership === 'knock';
  return change.membershipPosition !== undefined && (isInvited || after > 0 || filter.includeLeave);
}

type Snapshots = ReadonlyMap<RoomId, RoomSnapshot>;

/** Every room that may be in the answer, from memory where it is warm. */
async function loadSnapshots(
  { engine }: AnswerOptions,
  { filter }: SyncContext,
  { changes, typingRooms }: { readonly changes: SyncChanges; readonly typingRooms: readonly RoomId[] },
): Promise<Snapshots> {
  const roomIds = new Set([
    ...changes.rooms.map(({ roomId }) => roomId),
    ...changes.receipts.map(({ roomId }) => roomId),
    ...changes.accountData.flatMap(({ roomId }) => roomId ?? []),
  ]);
  const snapshots = new Map<RoomId, RoomSnapshot>();
  // Where somebody types, the room is warm; most such rooms are not the reader's, so none is loaded for it.
  for (const roomId of [...roomIds, ...typingRooms].filter(filter.includesRoom)) {
    const snapshot = engine.getSnapshot(roomId);
    if (snapshot !== undefined) snapshots.set(roomId, snapshot);
  }
  const cold = [...roomIds].filter((roomId) => filter.includesRoom(roomId) && !snapshots.has(roomId));
  if (cold.length > 0)
    for (const [roomId, snapshot] of await engine.loadSnapshots(cold)) snapshots.set(roomId, snapshot);
  return snapshots;
}

interface SortedRooms {
  readonly joined: readonly RoomChange[];
  readonly invited: readonly RoomSnapshot[];
  readonly knocked: readonly RoomSnapshot[];
  readonly left: readonly LeftRoom[];
}

function sortRooms(context: SyncContext, changes: SyncChanges, snapshots: Snapshots): SortedRooms {
  const rooms = {
    joined: [] as RoomChange[],
    invited: [] as RoomSnapshot[],
    knocked: [] as RoomSnapshot[],
    left: [] as LeftRoom[],
  };
  for (const change of changes.rooms) {
    const snapshot = snapshots.get(change.roomId);
    if (snapshot === undefined) continue;
    if (change.membership === 'join') rooms.joined.push(change);
    else if (change.membership === 'invite') {
      const inviter = snapshot.get('m.room.member', context.userId)?.sender;
      if (inviter === undefined || !hidesInvitesOf(context, inviter)) rooms.invited.push(snapshot);
    } else if (change.membership === 'knock') rooms.knocked.push(snapshot);
    else if (change.membershipPosition !== undefined) {
      rooms.left.push({ snapshot, change, leftAt: change.membershipPosition });
    }
  }
  return rooms;
}

interface Gathering {
  readonly changes: SyncChanges;
  readonly snapshots: Snapshots;
  readonly changed: readonly RoomChange[];
  readonly typingRooms: readonly RoomId[];
}

async function gatherJoined(
  options: AnswerOptions,
  context: SyncContext,
  { changes, snapshots, changed, typingRooms }: Gathering,
): Promise<readonly JoinedRoom[]> {
  const isNew = (change: RoomChange | undefined): boolean => change !== undefined && isNewlyJoined(context, change);
  const newRooms = changed.filter(isNew).map(({ roomId }) => roomId);
  const first = await loadFirst(options, context, { roomIds: newRooms, upTo: changes.position });
  const byRoom = new Map(changed.map((change) => [change.roomId, change]));
  const receipts = Map.groupBy(
    [...changes.receipts.filter(({ roomId }) => !isNew(byRoom.get(roomId))), ...first.receipts],
    ({ roomId }) => roomId,
  );
  const accountData = Map.groupBy(
    [
      ...changes.accountData.filter(({ roomId }) => roomId === undefined || !first.accountDataRooms.has(roomId)),
      ...first.accountData,
    ],
    ({ roomId }) => roomId,
  );
  const typing = new Set(typingRooms);
  const rooms: JoinedRoom[] = [];
  for (const [roomId, snapshot] of snapshots) {
    const change = byRoom.get(roomId);
    if (change === undefined && snapshot.membershipOf(context.userId) !== 'join') continue;
    const typingNow = options.typing.getTyping(roomId);
    const showsTyping = typing.has(roomId) || (isNew(change) && typingNow.length > 0);
    const room = {
      snapshot,
      change,
      receipts: receipts.get(roomId) ?? [],
      accountData: accountData.get(roomId) ?? [],
      typing: showsTyping ? typingNow : undefined,
    };
    rooms.push(room);
  }
  return rooms;
}

interface First {
  readonly receipts: readonly ReceiptRow[];
  readonly accountData: readonly AccountDataRow[];
  /** Rooms whose account data is all there already. */
  readonly accountDataRooms: ReadonlySet<RoomId>;
}

/** What a client needs of rooms that it has not seen before, whenever it was set. */
async function loadFirst(
  { database }: AnswerOptions,
  { userId, after }: SyncContext,
  { roomIds, upTo }: { readonly roomIds: readonly RoomId[]; readonly upTo: number },
): Promise<First> {
  if (roomIds.length === 0) return { receipts: [], accountData: [], accountDataRooms: new Set() };
  const receipts = listNewestReceipts(database, { userId, upTo, roomIds, limit: MAX_FIRST_RECEIPTS });
  // An initial sync has all account data among its changes.
  if (after === 0) return { receipts: await receipts, accountData: [], accountDataRooms: new Set() };
  const rooms = new Set(roomIds);
  const all = await listAccountData(database, userId, { after: 0, upTo });
  const accountData = all.filter(({ roomId }) => roomId !== undefined && rooms.has(roomId));
  return { receipts: await receipts, accountData, accountDataRooms: rooms };
}

async function renderLeft(
  options: Parameters<typeof renderLeftRoom>[0] & { readonly timelines: ReadonlyMap<RoomId, Timeline> },
  context: SyncContext,
  rooms: readonly LeftRoom[],
): Promise<ReadonlyMap<RoomId, RoomText>> {
  const texts = await Promise.all(
    rooms.map(async (room): Promise<[RoomId, RoomText] | undefined> => {
      const { roomId } = room.snapshot;
      const timeline = options.timelines.get(roomId);
      return timeline === undefined ? undefined : [roomId, await renderLeftRoom(options, context, { room, timeline })];
    }),
  );
  return new Map(texts.filter((text) => text !== undefined));
}

/** Nothing can be told of these rooms but that the user is not in them any more. */
function renderDeleted(
  { filter, after, useStateAfter }: SyncContext,
  roomIds: readonly RoomId[],
  formatPosition: RoomsAttempt['formatPosition'],
): readonly [RoomId, RoomText][] {
  const timeline = { events: [], limited: false, prevBatch: formatPosition(after) };
  const text = renderRoom({ timeline, state: stateSection(useStateAfter, []) });
  return roomIds.filter(filter.includesRoom).map((roomId) => [roomId, text]);
}

const PUSH_RULES = 'm.push_rules';

export function renderGlobalAccountData(context: SyncContext, rows: readonly AccountDataRow[]): readonly string[] {
  const { filter, after, userId } = context;
  const globals = rows.filter(({ roomId }) => roomId === undefined);
  const others = globals.filter(({ type }) => type !== PUSH_RULES);
  const stored = globals.find(({ type }) => type === PUSH_RULES);
  const texts = others
    .filter(({ type }) => filter.accountData({ type }))
    .map(({ type, content }) => renderAccountData(type, content));
  // Every user has push rules, changed or not.
  if ((after === 0 || stored !== undefined) && filter.accountData({ type: PUSH_RULES })) {
    texts.push(renderAccountData(PUSH_RULES, renderPushRules(stored, userId)));
  }
  return texts;
}

function renderPushRules(stored: AccountDataRow | undefined, userId: SyncContext['userId']): string {
  const content = stored === undefined ? undefined : (parseJsonText(stored.content) as JsonValue);
  const global = restoreRuleset(isJsonObject(content) ? content['global'] : undefined, userId);
  return JSON.stringify({ global });
}
