/**
 * The text of a sync answer, put together from parts that are text already: events are serialized once for all readers, and
 * whole states are encoded once for all of them.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { UseStateAfter } from './types.ts';

/** Text, or its bytes in UTF-8 where many answers share them: these are sent as they are, without a copy. */
export type Piece = string | Buffer;
export type RoomText = string | readonly Piece[];
/** The text of each event, or of all of them with commas in between. */
export type StateTexts = readonly string[] | Buffer;

export interface RoomSections {
  readonly timeline?: { readonly events: readonly string[]; readonly limited: boolean; readonly prevBatch: string };
  readonly state?: StateSection;
  readonly ephemeral?: readonly string[];
  readonly accountData?: readonly string[];
  readonly summary?: JsonObject | undefined;
  readonly unread?: JsonObject | undefined;
  readonly unreadThreads?: JsonObject | undefined;
}

interface StateSection {
  readonly name: 'state' | 'state_after' | 'org.matrix.msc4222.state_after';
  readonly events: StateTexts;
}

/** State before the timeline, or after it where the client asked for that. */
export function stateSection(useStateAfter: UseStateAfter, events: StateTexts): StateSection {
  if (useStateAfter === 'unstable') return { name: 'org.matrix.msc4222.state_after', events };
  return { name: useStateAfter ? 'state_after' : 'state', events };
}

export function renderRoom(sections: RoomSections): RoomText {
  const { timeline, state } = sections;
  const before = timeline === undefined ? [] : [renderTimeline(timeline)];
  const after = renderSmallSections(sections);
  if (state === undefined) return `{${[...before, ...after].join()}}`;
  const { name, events } = state;
  if (!Buffer.isBuffer(events)) return `{${[...before, `"${name}":${renderEvents(events)}`, ...after].join()}}`;
  return [`{${[...before, `"${name}":{"events":[`].join()}`, events, `${[']}', ...after].join()}}`];
}

function renderTimeline({ events, limited, prevBatch }: NonNullable<RoomSections['timeline']>): string {
  return `"timeline":{"events":[${events.join()}],"limited":${limited},"prev_batch":${JSON.stringify(prevBatch)}}`;
}

function renderSmallSections(sections: RoomSections): readonly string[] {
  const { ephemeral, accountData, summary, unread, unreadThreads } = sections;
  const parts: string[] = [];
  if (ephemeral !== undefined) parts.push(`"ephemeral":${renderEvents(ephemeral)}`);
  if (accountData !== undefined) parts.push(`"account_data":${renderEvents(accountData)}`);
  if (summary !== undefined) parts.push(`"summary":${JSON.stringify(summary)}`);
  if (unread !== undefined) parts.push(`"unread_notifications":${JSON.stringify(unread)}`);
  if (unreadThreads !== undefined) parts.push(`"unread_thread_notifications":${JSON.stringify(unreadThreads)}`);
  return parts;
}

/** In the order of the answer. */
export const ROOM_SECTIONS = ['join', 'invite', 'knock', 'leave'] as const;
export type RoomSection = (typeof ROOM_SECTIONS)[number];
export type RoomTexts = Readonly<Record<RoomSection, ReadonlyMap<RoomId, RoomText>>>;

/** What an answer says beside the rooms. */
export interface AnswerHead {
  readonly nextBatch: string;
  /** Global account data. */
  readonly accountData: readonly string[];
  readonly presence: readonly string[];
}

export interface SyncAnswer extends AnswerHead, RoomTexts {}

export function isEmptyAnswer({ accountData, presence, join, invite, knock, leave }: SyncAnswer): boolean {
  if (presence.length > 0) return false;
  return accountData.length === 0 && join.size === 0 && invite.size === 0 && knock.size === 0 && leave.size === 0;
}

export function renderAnswer(answer: SyncAnswer): string {
  const sections = ROOM_SECTIONS.filter((name) => answer[name].size > 0).map(
    (name) => `${renderRooms(`"${name}":{`, answer[name]).join('')}}`,
  );
  const rooms = sections.length > 0 ? `,"rooms":{${sections.join()}}` : '';
  return `${renderHead(answer)}${rooms}}`;
}

/** The beginning of an answer: what follows is its rooms, after a comma, or its closing brace. */
export function renderHead({ nextBatch, accountData, presence }: AnswerHead): string {
  const parts = [`{"next_batch":${JSON.stringify(nextBatch)}`];
  if (accountData.length > 0) parts.push(`"account_data":${renderEvents(accountData)}`);
  if (presence.length > 0) parts.push(`"presence":${renderEvents(presence)}`);
  // Clients upload keys when a count is missing or low; until keys can be uploaded there are none to count.
  parts.push('"device_one_time_keys_count":{}', '"device_unused_fallback_key_types":[]');
  return parts.join();
}

/** What comes before a section's rooms, and then those: the members of its object. */
export function renderRooms(before: string, rooms: ReadonlyMap<RoomId, RoomText>): readonly Piece[] {
  const pieces: Piece[] = [];
  let text = before;
  let comma = '';
  for (const [roomId, room] of rooms) {
    text += `${comma}${JSON.stringify(roomId)}:`;
    for (const piece of typeof room === 'string' ? [room] : room) {
      if (Buffer.isBuffer(piece)) {
        pieces.push(text, piece);
        text = '';
      } else text += piece;
    }
    comma = ',';
  }
  return [...pieces, text];
}

function renderEvents(events: readonly string[]): string {
  return `{"events":[${events.join()}]}`;
}

export function renderAccountData(type: string, content: string): string {
  return `{"type":${JSON.stringify(type)},"content":${content}}`;
}
