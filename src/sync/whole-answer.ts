/**
 * Answers with all of a user's rooms, a few rooms at a time: each slice is made when the client has taken in those before
 * it, so that an answer of any size takes the memory of a slice, and nobody else waits longer than for one. All slices
 * tell of the same instant, that of the token.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#syncing
 */
import type { RoomId } from '../protocol/ids.ts';
import { type AnswerOptions, type Attempt, buildRooms, renderGlobalAccountData } from './build-answer.ts';
import { renderPresence } from './presence.ts';
import { type Piece, ROOM_SECTIONS, type RoomSection, renderHead, renderRooms } from './render.ts';
import type { RoomChange, SyncChanges, SyncContext } from './types.ts';
import type { WholeSync } from './whole-syncs.ts';

/** A slice is made in some 10 ms: so many rooms at most, fewer with all their members, and so many events of timelines. */
const MAX_ROOMS = 12;
const MAX_ROOMS_WITH_MEMBERS = 4;
const MAX_EVENTS = 160;

/** Whether the answer fits into one slice. */
export function isShort(context: SyncContext, { changes }: Attempt): boolean {
  return changes.rooms.length <= roomsPerSlice(context);
}

function roomsPerSlice({ filter: { lazyLoadMembers, timelineLimit } }: SyncContext): number {
  const most = lazyLoadMembers ? MAX_ROOMS : MAX_ROOMS_WITH_MEMBERS;
  return Math.max(1, Math.min(most, Math.floor(MAX_EVENTS / (timelineLimit + 1))));
}

/** The text of the answer in pieces. What comes before the first piece can still be answered with an error. */
export async function* renderWhole(
  options: AnswerOptions,
  context: SyncContext,
  { attempt, turns }: { readonly attempt: Attempt; readonly turns: WholeSync },
): AsyncGenerator<Piece, void, undefined> {
  const { nextBatch, changes } = attempt;
  const presence = await turns.turn(() =>
    renderPresence(options.presenceParts, context, { after: undefined, newRooms: [], timelines: [] }),
  );
  const accountData = renderGlobalAccountData(context, changes.accountData);
  let text = renderHead({ nextBatch, accountData, presence });
  let isFirstSection = true;
  for (const section of ROOM_SECTIONS) {
    let isFirstRoom = true;
    for (const slice of slicesOf(context, attempt, section)) {
      const made = await turns.turn(() => buildRooms(options, context, { ...attempt, ...slice }));
      if (made[section].size === 0) continue;
      const before = isFirstRoom ? `${isFirstSection ? ',"rooms":{' : '},'}"${section}":{` : ',';
      yield* renderRooms(text + before, made[section]);
      text = '';
      isFirstRoom = false;
      isFirstSection = false;
    }
  }
  if (context.filter.lazyLoadMembers) attempt.session.close(nextBatch);
  yield `${text}${isFirstSection ? '' : '}}'}}`;
}

interface Slice {
  readonly changes: SyncChanges;
  readonly typingRooms: readonly RoomId[];
}

function* slicesOf(context: SyncContext, { changes, typingRooms }: Attempt, section: RoomSection): Generator<Slice> {
  const rooms = changes.rooms.filter(({ membership }) => sectionOf(membership) === section);
  const size = roomsPerSlice(context);
  const receipts = Map.groupBy(changes.receipts, ({ roomId }) => roomId);
  const accountData = Map.groupBy(changes.accountData, ({ roomId }) => roomId);
  const typing = new Set(typingRooms);
  // The rooms that are no more come with the first slice of those that were left, or by themselves.
  let deletedRooms = section === 'leave' ? changes.deletedRooms : [];
  const outside = changes.outside.filter(({ membership }) => sectionOf(membership) === section);
  for (let start = 0; start < Math.max(rooms.length, outside.length, deletedRooms.length); start += size) {
    const slice: readonly RoomChange[] = rooms.slice(start, start + size);
    const roomIds = slice.map(({ roomId }) => roomId);
    yield {
      changes: {
        position: changes.position,
        rooms: slice,
        receipts: roomIds.flatMap((roomId) => receipts.get(roomId) ?? []),
        accountData: roomIds.flatMap((roomId) => accountData.get(roomId) ?? []),
        deletedRooms,
        outside: outside.slice(start, start + size),
      },
      typingRooms: roomIds.filter((roomId) => typing.has(roomId)),
    };
    deletedRooms = [];
  }
}

function sectionOf(membership: string): RoomSection {
  return membership === 'join' || membership === 'invite' || membership === 'knock' ? membership : 'leave';
}
