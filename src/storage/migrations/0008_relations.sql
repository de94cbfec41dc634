-- no transaction
-- How events relate to others, so that threads, edits and reactions are found without reading the room's events.

create table if not exists event_relations (
  event_nid bigint primary key,
  room_id text collate "C" not null,
  -- The id of the parent: it may be an event that we do not have.
  relates_to text collate "C" not null,
  rel_type text collate "C" not null,
  type text collate "C" not null,
  sender text collate "C" not null,
  position bigint,
  -- Whether it counts for what is bundled with the parent: in a thread, or as a well-formed edit.
  aggregates boolean not null
);

-- Events of before this table. PostgreSQL cannot read every JSON text that holds \u escapes (NUL, halves of surrogate
-- pairs), and one such text would stop all: canonical JSON writes them for control characters only, which are left out.
insert into event_relations (event_nid, room_id, relates_to, rel_type, type, sender, position, aggregates)
select event_nid, room_id, relation ->> 'event_id', relation ->> 'rel_type', type, sender, position,
  relation ->> 'rel_type' = 'm.thread'
    or (relation ->> 'rel_type' = 'm.replace' and state_key is null
      and (type = 'm.room.encrypted' or coalesce(json_typeof(content -> 'm.new_content') = 'object', false)))
from (
  select e.*, case when strpos(pdu, '\u') = 0 then pdu::json -> 'content' end as content,
    case when strpos(pdu, '\u') = 0 then pdu::json #> '{content,m.relates_to}' end as relation
  from events e where strpos(pdu, '"m.relates_to"') > 0
) related
where json_typeof(relation) = 'object'
  and case when json_typeof(relation) = 'object' then json_typeof(relation -> 'event_id') = 'string'
    and json_typeof(relation -> 'rel_type') = 'string'
    and octet_length(relation ->> 'event_id') <= 255 and starts_with(relation ->> 'event_id', '$')
    and octet_length(relation ->> 'rel_type') <= 255 end
on conflict do nothing;

create index concurrently if not exists event_relations_parent on event_relations (room_id, relates_to, position);
create index concurrently if not exists event_relations_thread on event_relations (room_id, position)
  where rel_type = 'm.thread';

-- Looking up an event by the time at which it was sent.
create index concurrently if not exists events_room_time on events (room_id, origin_server_ts, position)
  where position is not null;
