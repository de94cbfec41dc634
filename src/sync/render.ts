/**
 * The text of a sync answer, put together from parts that are text already: events are serialized once for all readers.
 */
import type { RoomId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { UseStateAfter } from './types.ts';

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
  readonly events: readonly string[];
}

/** State before the timeline, or after it where the client asked for that. */
export function stateSection(useStateAfter: UseStateAfter, events: readonly string[]): StateSection {
  if (useStateAfter === 'unstable') return { name: 'org.matrix.msc4222.state_after', events };
  return { name: useStateAfter ? 'state_after' : 'state', events };
}

export function renderRoom(sections: RoomSections): string {
  const { timeline, state, ephemeral, accountData, summary, unread, unreadThreads } = sections;
  const parts: string[] = [];
  if (timeline !== undefined) {
    const { events, limited, prevBatch } = timeline;
    parts.push(
      `"timeline":{"events":[${events.join()}],"limited":${limited},"prev_batch":${JSON.stringify(prevBatch)}}`,
    );
  }
  if (state !== undefined) parts.push(`"${state.name}":${renderEvents(state.events)}`);
  if (ephemeral !== undefined) parts.push(`"ephemeral":${renderEvents(ephemeral)}`);
  if (accountData !== undefined) parts.push(`"account_data":${renderEvents(accountData)}`);
  if (summary !== undefined) parts.push(`"summary":${JSON.stringify(summary)}`);
  if (unread !== undefined) parts.push(`"unread_notifications":${JSON.stringify(unread)}`);
  if (unreadThreads !== undefined) parts.push(`"unread_thread_notifications":${JSON.stringify(unreadThreads)}`);
  return `{${parts.join()}}`;
}

/** In the order of the answer. */
export const ROOM_SECTIONS = ['join', 'invite', 'knock', 'leave'] as const;
export type RoomSection = (typeof ROOM_SECTIONS)[number];
export type RoomTexts = Readonly<Record<RoomSection, ReadonlyMap<RoomId, string>>>;

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
    (name) => `"${name}":{${renderRooms(answer[name])}}`,
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

/** The members of a section's object. */
export function renderRooms(rooms: ReadonlyMap<RoomId, string>): string {
  return [...rooms].map(([roomId, text]) => `${JSON.stringify(roomId)}:${text}`).join();
}

function renderEvents(events: readonly string[]): string {
  return `{"events":[${events.join()}]}`;
}

export function renderAccountData(type: string, content: string): string {
  return `{"type":${JSON.stringify(type)},"content":${content}}`;
}
