/**
 * The reading side of full text search: the rooms that a user can search, where in them they may read, and the events
 * there that hold the words.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import { bigintArray, sql, textArray } from './sql.ts';

/** The rooms that the user is or was in and did not forget; encrypted ones are left out. */
export async function listSearchableRooms(tx: Transaction, userId: UserId): Promise<readonly RoomId[]> {
  const rows = await tx.query(sql<{ room_id: RoomId }>`
    select m.room_id from memberships m
    where m.user_id = ${userId} and not m.forgotten and not exists (
      select from current_state s
      where s.room_id = m.room_id and s.type = 'm.room.encryption' and s.state_key = '')`);
  return rows.map((row) => row.room_id);
}

/** An event that changed what a user may see from there on. */
export interface VisibilityChange {
  readonly roomId: RoomId;
  readonly position: number;
  readonly type: 'm.room.member' | 'm.room.history_visibility';
  readonly content: JsonObject;
}

/** Of the rooms, every change of the history visibility and of the user's membership, oldest first. */
export async function listVisibilityChanges(
  tx: Transaction,
  roomIds: readonly RoomId[],
  userId: UserId,
): Promise<readonly VisibilityChange[]> {
  const rows = await tx.query(sql<{ room_id: RoomId; position: number; type: VisibilityChange['type']; pdu: string }>`
    select e.room_id, e.position, e.type, e.pdu
    from unnest(${textArray(roomIds)}::text[]) as room (id)
    cross join (values ('m.room.history_visibility', ''), ('m.room.member', ${userId})) as key (type, state_key)
    join events e on e.room_id = room.id and e.type = key.type and e.state_key = key.state_key
    where e.position is not null and e.rejection is null and not e.soft_failed
    order by e.position`);
  return rows.map(({ room_id: roomId, position, type, pdu }) => {
    // Redaction leaves what is read of these two.
    const { content } = parseJsonText(pdu) as { content: JsonObject };
    return { roomId, position, type, content: isJsonObject(content) ? content : {} };
  });
}

/** A part of a room's timeline: positions in [from, until). */
export interface Stretch {
  readonly roomId: RoomId;
  readonly from: number;
  readonly until: number;
}

/** Where a page ended: the rank and position of its last event. */
export interface SearchPlace {
  /** As PostgreSQL wrote it, so that it compares to the bit. */
  readonly rank: string;
  readonly position: number;
}

export interface SearchWanted {
  /** Prepared for PostgreSQL's parser. */
  readonly term: string;
  readonly stretches: readonly Stretch[];
  readonly types: readonly string[];
  /** Undefined for everybody. */
  readonly senders: readonly string[] | undefined;
  readonly notSenders: readonly string[];
  readonly hasUrl: boolean | undefined;
  readonly order: 'rank' | 'recent';
  readonly after: SearchPlace | undefined;
  readonly limit: number;
}

export interface FoundEvent extends SearchPlace {
  readonly nid: number;
  readonly roomId: RoomId;
}

export interface FoundEvents {
  /** Before and behind the page as well; no more than `MAX_FOUND`. */
  readonly count: number;
  readonly events: readonly FoundEvent[];
}

/** Bounds what one search ranks and counts, by dropping the oldest. */
const MAX_FOUND = 10_000;

interface FoundRow {
  readonly count: number;
  readonly event_nid: number | null;
  readonly room_id: RoomId | null;
  readonly position: number | null;
  readonly rank: string | null;
}

/**
 * Step by step, each materialized: the planner knows nothing of how often words occur and would go through whole rooms
 * where the index has the answer.
 *
 * One page of the events that hold the words, and how many there are in all. The stretches are apart from each other, so
 * joining them gives no event twice. What was redacted is not in the index, but for what its follower did not reach yet:
 * whoever shows an event looks at it again.
 */
export async function searchEvents(tx: Transaction, wanted: SearchWanted): Promise<FoundEvents> {
  const { term, stretches, order, after, senders, limit } = wanted;
  const roomIds = [...new Set(stretches.map(({ roomId }) => roomId))];
  const rows = await tx.query(sql<FoundRow>`
    with asked as (
      select websearch_to_tsquery('simple', ${term}) || websearch_to_tsquery('english', ${term}) as query
    ), stretch as materialized (
      select * from unnest(
        ${textArray(stretches.map(({ roomId }) => roomId))}::text[],
        ${bigintArray(stretches.map(({ from }) => from))}::bigint[],
        ${bigintArray(stretches.map(({ until }) => until))}::bigint[]
      ) as stretch (room_id, low, high)
    ), matched as materialized (
      select s.event_nid, s.room_id, s.position
      from asked join event_search s on s.words @@ (asked.query && ${roomQuery(roomIds)}::tsquery)
      where numnode(asked.query) > 0
        and s.type = any(${textArray(wanted.types)}::text[])
        and (${senders === undefined} or s.sender = any(${textArray(senders ?? [])}::text[]))
        and s.sender <> all(${textArray(wanted.notSenders)}::text[])
        and (${wanted.hasUrl ?? null}::boolean is null or s.has_url = ${wanted.hasUrl ?? null}::boolean)
    ), readable as materialized (
      select m.event_nid, m.room_id, m.position
      from matched m
      join stretch on stretch.room_id = m.room_id and m.position >= stretch.low and m.position < stretch.high
      order by m.position desc limit ${MAX_FOUND}
    ), found as materialized (
      select r.event_nid, r.room_id, r.position,
        case when ${order === 'rank'} then (
          select ts_rank(s.words, asked.query) from event_search s, asked where s.event_nid = r.event_nid
        ) else 0 end as rank
      from readable r
    )
    select total.count, page.event_nid, page.room_id, page.position, page.rank::text
    from (select count(*) from found) total
    left join lateral (
      select * from found
      where ${after === undefined}
        or (rank, position) < (${after?.rank ?? '0'}::text::real, ${after?.position ?? 0}::bigint)
      order by rank desc, position desc limit ${limit}
    ) page on true
    order by page.rank desc, page.position desc`);
  return {
    count: rows[0]?.count ?? 0,
    events: rows.flatMap(({ event_nid: nid, room_id: roomId, position, rank }) =>
      nid === null || roomId === null || position === null || rank === null ? [] : [{ nid, roomId, position, rank }],
    ),
  };
}

/** `'room:!a' | 'room:!b'`, with what the syntax means otherwise escaped. */
function roomQuery(roomIds: readonly RoomId[]): string {
  return roomIds.map((roomId) => `'room:${roomId.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`).join('|');
}

const [MARK_START, MARK_END] = ['\u0001', '\u0002'];

/** The words of the texts that a search for the term found, in whatever form they stand there. */
export async function listFoundWords(
  tx: Transaction,
  term: string,
  texts: readonly string[],
): Promise<ReadonlySet<string>> {
  const marked = await tx.query(sql<{ marked: string }>`
    select ts_headline('english', text, websearch_to_tsquery('simple', ${term}) || websearch_to_tsquery('english', ${term}),
      ${`HighlightAll=true, StartSel="${MARK_START}", StopSel="${MARK_END}"`}) as marked
    from unnest(${textArray(texts)}::text[]) as text`);
  const words = new Set<string>();
  for (const row of marked) {
    for (const part of row.marked.split(MARK_START).slice(1)) words.add(part.slice(0, part.indexOf(MARK_END)));
  }
  return words;
}

export interface Surroundings {
  readonly roomId: RoomId;
  readonly position: number;
}

export interface NearbyEvent {
  /** Which of the places it is near to. */
  readonly index: number;
  readonly nid: number;
  readonly position: number;
}

/** The events right before and right after each place, in no order. */
export async function listNearby(
  tx: Transaction,
  places: readonly Surroundings[],
  { before, after }: { readonly before: number; readonly after: number },
): Promise<readonly NearbyEvent[]> {
  const rows = await tx.query(sql<{ index: number; event_nid: number; position: number }>`
    select place.index, e.event_nid, e.position
    from unnest(
      ${textArray(places.map(({ roomId }) => roomId))}::text[],
      ${bigintArray(places.map(({ position }) => position))}::bigint[]
    ) with ordinality as place (room_id, position, index)
    cross join lateral (
      (select event_nid, events.position from events
        where events.room_id = place.room_id and events.position < place.position
          and rejection is null and not soft_failed
        order by events.position desc limit ${before})
      union all
      (select event_nid, events.position from events
        where events.room_id = place.room_id and events.position > place.position
          and rejection is null and not soft_failed
        order by events.position limit ${after})
    ) e`);
  return rows.map(({ index, event_nid: nid, position }) => ({ index: index - 1, nid, position }));
}
