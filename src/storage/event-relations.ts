/**
 * How events relate to others: one row for each accepted event that names a parent and a relation type. A row says what
 * the event claimed when it was sent; redaction breaks a relation, so every reader looks at the event as well.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events
 */
import { parseEventId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { Event } from '../protocol/pdu.ts';
import type { Transaction } from './database.ts';
import type { StoredEvent } from './events.ts';
import { bigintArray, booleanArray, sql, textArray } from './sql.ts';
import type { Positioned } from './stream-table.ts';

/** As for event types; what is longer is no relation that anybody could ask for. */
const MAX_REL_TYPE_BYTES = 255;

/** Writes the relations of new events: nothing is asked of the database where none relates to another. */
export async function insertRelations(
  tx: Transaction,
  rows: readonly Positioned<{ readonly stored: StoredEvent }>[],
): Promise<void> {
  const related = rows.flatMap(({ row, position }) => {
    const { nid, event } = row.stored;
    const relation = relationOf(event);
    return relation === undefined ? [] : [{ nid, event, position, relation }];
  });
  if (related.length === 0) return;
  await tx.query(sql`
    insert into event_relations (event_nid, room_id, relates_to, rel_type, type, sender, position, aggregates)
    select * from unnest(
      ${bigintArray(related.map(({ nid }) => nid))}::bigint[],
      ${textArray(related.map(({ event }) => event.roomId))}::text[],
      ${textArray(related.map(({ relation }) => relation.parent))}::text[],
      ${textArray(related.map(({ relation }) => relation.relType))}::text[],
      ${textArray(related.map(({ event }) => event.type))}::text[],
      ${textArray(related.map(({ event }) => event.sender))}::text[],
      ${bigintArray(related.map(({ position }) => position))}::bigint[],
      ${booleanArray(related.map(({ event, relation }) => isAggregated(event, relation)))}::boolean[])`);
}

interface Relation {
  readonly parent: string;
  readonly relType: string;
}

/** Only what can be stored and asked for: PostgreSQL's text holds no NUL. */
function relationOf({ content }: Event): Relation | undefined {
  const relation = content['m.relates_to'];
  if (!isJsonObject(relation)) return undefined;
  const { event_id: parent, rel_type: relType } = relation;
  if (typeof parent !== 'string' || parseEventId(parent) === undefined || parent.includes('\0')) return undefined;
  if (typeof relType !== 'string' || relType.includes('\0')) return undefined;
  return Buffer.byteLength(relType) > MAX_REL_TYPE_BYTES ? undefined : { parent, relType };
}

/** What an encrypted event puts in its parent's place cannot be read here. */
function isAggregated({ type, stateKey, content }: Event, { relType }: Relation): boolean {
  if (relType === 'm.thread') return true;
  if (relType !== 'm.replace' || stateKey !== undefined) return false;
  return type === 'm.room.encrypted' || isJsonObject(content['m.new_content']);
}

/** An event with its place in the stream, to be loaded. */
export interface RelatedEvent {
  readonly nid: number;
  readonly position: number;
}

interface RelatedRow {
  readonly event_nid: number;
  readonly position: number;
}

const toRelated = ({ event_nid: nid, position }: RelatedRow): RelatedEvent => ({ nid, position });

export interface RelationsWanted {
  readonly roomId: string;
  readonly parent: string;
  readonly relType: string | undefined;
  readonly type: string | undefined;
  /** Steps from the parent: 1 for its children only. */
  readonly maxDepth: number;
  /** Positions, both exclusive. */
  readonly after: number;
  readonly before: number;
  readonly limit: number;
  readonly direction: 'forward' | 'backward';
}

/** The events that relate to one, in stream order, or in the opposite one when going backward. */
export async function listRelations(tx: Transaction, wanted: RelationsWanted): Promise<readonly RelatedEvent[]> {
  if (wanted.maxDepth > 1) return listRecursively(tx, wanted);
  const { roomId, parent, after, before, limit } = wanted;
  const [relType, type] = [wanted.relType ?? null, wanted.type ?? null];
  const rows = await tx.query(
    wanted.direction === 'forward'
      ? sql<RelatedRow>`
          select r.event_nid, r.position from event_relations r join events e using (event_nid)
          where r.room_id = ${roomId} and r.relates_to = ${parent}
            and (${relType}::text is null or r.rel_type = ${relType}) and (${type}::text is null or r.type = ${type})
            and r.position > ${after} and r.position < ${before}
            and e.redacted_by is null and e.rejection is null and not e.soft_failed
          order by r.position limit ${limit}`
      : sql<RelatedRow>`
          select r.event_nid, r.position from event_relations r join events e using (event_nid)
          where r.room_id = ${roomId} and r.relates_to = ${parent}
            and (${relType}::text is null or r.rel_type = ${relType}) and (${type}::text is null or r.type = ${type})
            and r.position > ${after} and r.position < ${before}
            and e.redacted_by is null and e.rejection is null and not e.soft_failed
          order by r.position desc limit ${limit}`,
  );
  return rows.map(toRelated);
}

/** Whatever leads from the parent to an event has to match too. */
async function listRecursively(
  tx: Transaction,
  { roomId, parent, maxDepth, after, before, limit, direction, ...wanted }: RelationsWanted,
): Promise<readonly RelatedEvent[]> {
  const [relType, type] = [wanted.relType ?? null, wanted.type ?? null];
  const rows = await tx.query(sql<RelatedRow>`
    with recursive related (event_nid, event_id, position, depth) as (
      select null::bigint, ${parent}::text collate "C", null::bigint, 0
      union
      select e.event_nid, e.event_id, r.position, related.depth + 1
      from related
      join event_relations r on r.room_id = ${roomId} and r.relates_to = related.event_id
      join events e on e.event_nid = r.event_nid
      where related.depth < ${maxDepth}
        and (${relType}::text is null or r.rel_type = ${relType}) and (${type}::text is null or r.type = ${type})
        and e.redacted_by is null and e.rejection is null and not e.soft_failed
    )
    select event_nid, position from related
    where position > ${after} and position < ${before}
    group by event_nid, position
    order by case when ${direction === 'forward'} then position else -position end limit ${limit}`);
  return rows.map(toRelated);
}

export interface ThreadsWanted {
  readonly roomId: string;
  /** Only threads that this user wrote in; undefined for all. */
  readonly participant: string | undefined;
  /** The position of a thread's latest event, exclusive. */
  readonly before: number;
  readonly limit: number;
}

export interface ThreadRow {
  readonly rootId: string;
  readonly latestPosition: number;
}

/** The threads of a room by their latest event, newest first. */
export async function listThreads(
  tx: Transaction,
  { roomId, before, limit, ...wanted }: ThreadsWanted,
): Promise<readonly ThreadRow[]> {
  const participant = wanted.participant ?? null;
  const rows = await tx.query(sql<{ relates_to: string; position: number }>`
    select r.relates_to, r.position
    from event_relations r
    join events e using (event_nid)
    join events root on root.event_id = r.relates_to and root.room_id = r.room_id
    where r.room_id = ${roomId} and r.rel_type = 'm.thread' and r.position < ${before}
      and e.redacted_by is null and e.rejection is null and not e.soft_failed
      and not exists (
        select from event_relations later join events l on l.event_nid = later.event_nid
        where later.room_id = r.room_id and later.relates_to = r.relates_to and later.rel_type = 'm.thread'
          and later.position > r.position and l.redacted_by is null and l.rejection is null and not l.soft_failed)
      and (${participant}::text is null or root.sender = ${participant} or exists (
        select from event_relations own join events o on o.event_nid = own.event_nid
        where own.room_id = r.room_id and own.relates_to = r.relates_to and own.rel_type = 'm.thread'
          and own.sender = ${participant} and o.redacted_by is null and o.rejection is null and not o.soft_failed))
    order by r.position desc limit ${limit}`);
  return rows.map((row) => ({ rootId: row.relates_to, latestPosition: row.position }));
}

export interface AggregationsWanted {
  readonly roomId: string;
  readonly parents: readonly Event[];
  readonly userId: string;
  /** Whose events do not count. */
  readonly ignored: ReadonlySet<string>;
}

export interface AggregationRow {
  readonly parentId: string;
  readonly relType: string;
  readonly count: number;
  /** Whether one of them is the user's. */
  readonly hasOwn: boolean;
  /** Of a thread the last event of the stream, of edits the one with the latest time. */
  readonly latest: RelatedEvent;
}

/** The threads and edits of many events. Only the author of an event can edit it, and not into another type. */
export async function loadAggregations(
  tx: Transaction,
  { roomId, parents, userId, ignored }: AggregationsWanted,
): Promise<readonly AggregationRow[]> {
  const rows = await tx.query(sql<AggregationColumns>`
    select relates_to, rel_type, count, has_own, latest.event_nid, latest.position
    from (
      select r.relates_to, r.rel_type, count(*) as count, bool_or(r.sender = ${userId}) as has_own,
        (array_agg(r.event_nid order by
          case when r.rel_type = 'm.thread' then r.position else e.origin_server_ts end desc, e.event_id desc))[1] as nid
      from unnest(
        ${textArray(parents.map(({ eventId }) => eventId))}::text[],
        ${textArray(parents.map(({ sender }) => sender))}::text[],
        ${textArray(parents.map(({ type }) => type))}::text[]
      ) as parent (event_id, sender, type)
      join event_relations r on r.room_id = ${roomId} and r.relates_to = parent.event_id and r.aggregates
      join events e on e.event_nid = r.event_nid
      where e.position is not null and e.redacted_by is null and e.rejection is null and not e.soft_failed
        and (r.rel_type = 'm.thread' or (e.sender = parent.sender and e.type = parent.type))
        and r.sender <> all(${textArray([...ignored])}::text[])
      group by r.relates_to, r.rel_type
    ) aggregation
    join events latest on latest.event_nid = aggregation.nid`);
  return rows.map((row) => ({
    parentId: row.relates_to,
    relType: row.rel_type,
    count: row.count,
    hasOwn: row.has_own,
    latest: toRelated(row),
  }));
}

interface AggregationColumns extends RelatedRow {
  readonly relates_to: string;
  readonly rel_type: string;
  readonly count: number;
  readonly has_own: boolean;
}
