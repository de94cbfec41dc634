-- How users of ours left rooms that were deleted since, for servers that had not taken it by then.

create table parting_events (
  room_id text collate "C" not null,
  position bigint not null,
  room_version text collate "C" not null,
  event_id text collate "C" not null,
  pdu text not null,
  primary key (room_id, position)
);

-- The servers that were in the room then, and were owed something.
create table parting_servers (
  server_name text collate "C" not null,
  room_id text collate "C" not null,
  primary key (server_name, room_id)
);
create index parting_servers_room on parting_servers (room_id);
