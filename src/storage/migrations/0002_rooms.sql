-- Rooms: events, their state, and what is current.

-- One row per process that writes streams. `position` is the last one it committed: it moves in the same transaction as
-- the rows that carry it, so a restart can neither reuse a position nor hand out a smaller one.
create table stream_writers (
  writer_id smallint primary key,
  position bigint not null
);

-- Numeric ids for events and state snapshots, taken in blocks.
create sequence event_nids increment by 1000 cache 1;
create sequence snapshot_nids increment by 1000 cache 1;

create table rooms (
  room_id text collate "C" primary key,
  room_version text collate "C" not null,
  creator text collate "C" not null,
  created_at bigint not null,
  is_public boolean not null default false
);

-- One row per room, rewritten once per commit: left half empty so that updates stay on the page.
create table room_heads (
  room_id text collate "C" primary key references rooms on delete cascade,
  forward_extremities bigint[] not null,
  state_snapshot bigint not null,
  depth bigint not null,
  last_position bigint not null
) with (fillfactor = 50);

create table events (
  event_nid bigint primary key,
  event_id text collate "C" not null unique,
  room_id text collate "C" not null,
  type text collate "C" not null,
  state_key text collate "C",
  sender text collate "C" not null,
  depth bigint not null,
  origin_server_ts bigint not null,
  -- Where the event stands in the stream; null for outliers, negative for backfilled history.
  writer_id smallint,
  position bigint,
  -- The room's state before and after the event; null where it is not known (outliers).
  state_before bigint,
  state_after bigint,
  -- The state event that this one replaced.
  replaces_nid bigint,
  -- The redaction that was applied to this event.
  redacted_by bigint,
  outlier boolean not null default false,
  soft_failed boolean not null default false,
  -- Why the authorization rules rejected it; null for accepted events.
  rejection text,
  -- The event as servers exchange it, to the byte that its hashes were made over.
  pdu text not null
);
create index events_room_position on events (room_id, position) where position is not null;
create index events_state on events (room_id, type, state_key, position) where state_key is not null;
create index events_member on events (state_key, position) where type = 'm.room.member' and position is not null;

-- State as deltas. A snapshot holds the event nids that its parent lacks and those it drops; its parent is the ancestor
-- 2^k snapshots back, where k is the number of trailing zeros of its height: every state is read in at most log2(height)
-- steps, and each change is stored log2(height) / 2 times, 8 bytes each (docs/adr/0005-state-snapshots.md).
create table state_snapshots (
  snapshot_nid bigint primary key,
  room_id text collate "C" not null,
  parent_nid bigint,
  height integer not null,
  added bigint[] not null,
  removed bigint[] not null
);
create index state_snapshots_room on state_snapshots (room_id);

create table current_state (
  room_id text collate "C" not null,
  type text collate "C" not null,
  state_key text collate "C" not null,
  event_nid bigint not null,
  primary key (room_id, type, state_key)
);

create table memberships (
  room_id text collate "C" not null,
  user_id text collate "C" not null,
  membership text collate "C" not null,
  sender text collate "C" not null,
  event_nid bigint not null,
  -- The stream position of that event.
  position bigint not null,
  forgotten boolean not null default false,
  primary key (room_id, user_id)
);
create index memberships_user on memberships (user_id, membership);

-- Events that ours refer to and that we do not have: where backfill starts.
create table backward_extremities (
  room_id text collate "C" not null,
  event_id text collate "C" not null,
  referenced_by bigint not null,
  primary key (room_id, event_id, referenced_by)
);

-- Rooms whose full state is still being fetched after a fast join.
create table partial_state_rooms (
  room_id text collate "C" primary key references rooms on delete cascade,
  joined_via text collate "C" not null,
  device_list_position bigint not null,
  started_at bigint not null
);

-- A client's transaction ids, so that a retried request gives the event of the first.
create table transaction_ids (
  room_id text collate "C" not null,
  user_id text collate "C" not null,
  device_id text collate "C" not null,
  path text collate "C" not null,
  txn_id text collate "C" not null,
  event_nid bigint not null,
  created_at bigint not null,
  primary key (room_id, user_id, device_id, path, txn_id)
);
create index transaction_ids_created on transaction_ids using brin (created_at);
create index transaction_ids_event on transaction_ids (event_nid);

create table room_aliases (
  alias text collate "C" primary key,
  room_id text collate "C" not null,
  creator text collate "C" not null,
  created_at bigint not null
);
create index room_aliases_room on room_aliases (room_id);
