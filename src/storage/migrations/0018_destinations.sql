-- no transaction
-- Sending to other servers: what is still owed to whom. Nothing here is written while
-- a server takes what it is sent at once.

-- Servers that are owed something, or did not answer the last time.
create table if not exists destinations (
  server_name text collate "C" primary key,
  -- Everything before this position was sent; null where nothing is owed.
  pending_from bigint,
  -- Attempts in a row that failed, since when, and when the next may be made.
  failures integer not null,
  failing_since bigint,
  retry_at bigint,
  last_error text,
  last_success_at bigint
);

-- The newest event of each room that other servers were to be sent: whoever was away for long gets these.
create table if not exists federated_rooms (
  room_id text collate "C" primary key,
  position bigint not null
);

-- Events for servers that are not in the room, such as the removal of their last user from it.
create table if not exists owed_events (
  server_name text collate "C" not null,
  room_id text collate "C" not null,
  position bigint not null,
  primary key (server_name, position)
);
create index if not exists owed_events_room on owed_events (room_id);

-- The rooms that a server is in.
create index concurrently if not exists memberships_server on memberships ((substr(user_id, strpos(user_id, ':') + 1)), room_id)
  where membership = 'join';

-- Events in the order of the stream: positions grow with the table.
create index concurrently if not exists events_position on events using brin (position);
