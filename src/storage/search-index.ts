/**
 * The writing side of full text search: which events the index has not seen yet, and what it keeps of them. The vector
 * holds the words twice, as they are written and as English stems, so that a search finds other forms of a word in the
 * language that most rooms share and loses nothing in any other. One more lexeme names the room: the GIN index then finds
 * the words of a user's rooms and not those of the whole server.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { EventId, RoomId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';

export const SEARCHABLE_TYPES = ['m.room.message', 'm.room.name', 'm.room.topic'] as const;
export type SearchableType = (typeof SEARCHABLE_TYPES)[number];

/** An event that concerns the index: one with text in it, or a redaction. */
export interface IndexableEvent {
  readonly nid: number;
  readonly roomId: RoomId;
  readonly type: string;
  readonly sender: string;
  readonly position: number;
  readonly content: JsonObject;
  /** Of a redaction: the event that it names. */
  readonly redacts: EventId | undefined;
  readonly isRedacted: boolean;
}

interface IndexableRow {
  readonly event_nid: number;
  readonly room_id: RoomId;
  readonly type: string;
  readonly sender: string;
  readonly position: number;
  readonly pdu: string;
  readonly redacted: boolean;
}

export interface StreamPart {
  readonly writerId: number;
  /** Positions in (after, upTo]. */
  readonly after: number;
  readonly upTo: number;
  readonly limit: number;
}

/** The next events that concern the index, oldest first. */
export async function listIndexableEvents(tx: Transaction, part: StreamPart): Promise<readonly IndexableEvent[]> {
  const rows = await tx.query(sql<IndexableRow>`
    select event_nid, room_id, type, sender, position, pdu, redacted_by is not null as redacted from events
    where writer_id = ${part.writerId} and position > ${part.after} and position <= ${part.upTo}
      and type in ('m.room.message', 'm.room.name', 'm.room.topic', 'm.room.redaction')
      and rejection is null and not soft_failed
    order by position limit ${part.limit}`);
  return rows.map((row) => {
    // Our own text, so it needs no checks.
    const pdu = parseJsonText(row.pdu) as { content: JsonObject; redacts?: unknown };
    return {
      nid: row.event_nid,
      roomId: row.room_id,
      type: row.type,
      sender: row.sender,
      position: row.position,
      content: isJsonObject(pdu.content) ? pdu.content : {},
      redacts: row.type === 'm.room.redaction' ? redactsOf(pdu) : undefined,
      isRedacted: row.redacted,
    };
  });
}

/** Room versions differ in where it stands; either is only asked whether it was redacted indeed. */
function redactsOf({ content, redacts }: { content: JsonObject; redacts?: unknown }): EventId | undefined {
  const named = typeof redacts === 'string' ? redacts : content['redacts'];
  return typeof named === 'string' && !named.includes('\0') ? (named as EventId) : undefined;
}

export interface SearchDocument extends Pick<IndexableEvent, 'nid' | 'roomId' | 'type' | 'sender' | 'position'> {
  readonly hasUrl: boolean;
  /** Prepared for PostgreSQL's parser. */
  readonly text: string;
}

/** The rows of the events are locked against the deletion of their room, which empties this table after them. */
export async function insertSearchDocuments(tx: Transaction, documents: readonly SearchDocument[]): Promise<void> {
  if (documents.length === 0) return;
  await tx.query(sql`
    insert into event_search (event_nid, room_id, type, sender, position, has_url, words)
    select d.nid, d.room_id, d.type, d.sender, d.position, d.has_url,
      to_tsvector('simple', d.text) || to_tsvector('english', d.text) || array_to_tsvector(array['room:' || d.room_id])
    from unnest(
      ${bigintArray(documents.map(({ nid }) => nid))}::bigint[],
      ${textArray(documents.map(({ roomId }) => roomId))}::text[],
      ${textArray(documents.map(({ type }) => type))}::text[],
      ${textArray(documents.map(({ sender }) => sender))}::text[],
      ${bigintArray(documents.map(({ position }) => position))}::bigint[],
      ${booleanArray(documents.map(({ hasUrl }) => hasUrl))}::boolean[],
      ${textArray(documents.map(({ text }) => text))}::text[]
    ) as d (nid, room_id, type, sender, position, has_url, text)
    join events e on e.event_nid = d.nid
    for key share of e
    on conflict (event_nid) do nothing`);
}

/** Takes the words of redacted events out of the index; those that were not redacted stay. */
export async function deleteRedactedDocuments(tx: Transaction, redacted: readonly EventId[]): Promise<void> {
  if (redacted.length === 0) return;
  await tx.query(sql`
    delete from event_search using events e
    where e.event_id = any(${textArray(redacted)}::text[]) and e.redacted_by is not null
      and event_search.event_nid = e.event_nid`);
}

export interface IndexPosition {
  readonly writerId: number;
  readonly position: number;
}

/** Where the index stands in a writer's stream; 0 for a new one. */
export async function loadIndexPosition(tx: Transaction, writerId: number): Promise<number> {
  const [row] = await tx.query(sql<{ position: number }>`
    select position from search_positions where writer_id = ${writerId}`);
  return row?.position ?? 0;
}

export async function saveIndexPosition(tx: Transaction, { writerId, position }: IndexPosition): Promise<void> {
  await tx.query(sql`
    insert into search_positions (writer_id, position) values (${writerId}, ${position})
    on conflict (writer_id) do update set position = greatest(search_positions.position, excluded.position)`);
}
