-- What forks of a room's graph need: the auth graph by numeric ids, changes of current state that no event at the head
-- made, and redactions that came before what they redact.

-- A state event whose place in the stream does not make it current: `state_changes` says what did change.
alter table events add column sidelined boolean not null default false;

-- The auth events of a state event, as far as they were known when it was stored: auth chains are walked in one statement.
alter table events add column auth_nids bigint[];
update events set auth_nids = (
  select array_agg(a.event_nid)
  from json_array_elements(events.pdu::json -> 'auth_events') as reference (value)
  join events a on a.event_id =
    case when json_typeof(reference.value) = 'array' then reference.value ->> 0 else reference.value #>> '{}' end)
-- PostgreSQL cannot read every JSON text that holds \u escapes; what is left out here is found by reading the events.
where state_key is not null and strpos(pdu, '\u') = 0;

-- One row for each key of a room's current state that state resolution changed.
create table state_changes (
  room_id text collate "C" not null,
  position bigint not null,
  writer_id smallint not null,
  type text collate "C" not null,
  state_key text collate "C" not null,
  -- The event that is current now, and the one that was; null where there is none.
  event_nid bigint,
  replaces_nid bigint,
  primary key (room_id, position)
);
create index state_changes_member on state_changes (state_key, position) where type = 'm.room.member';

create table pending_redactions (
  room_id text collate "C" not null,
  redacts text collate "C" not null,
  redaction_nid bigint not null,
  primary key (room_id, redacts, redaction_nid)
);
