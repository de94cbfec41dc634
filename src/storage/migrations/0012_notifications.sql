-- Who was notified of what, for unread counts, /notifications and pushers: made by a follower of the stream.

-- How far each follower has come; its rows and its position are written in one transaction.
create table stream_followers (
  follower text collate "C" primary key,
  position bigint not null
);

-- One row per event that notifies somebody: what it means to the members whose push rules are the predefined ones and
-- whom it does not name. A message to ten thousand of them is one row.
create table notifications (
  room_id text collate "C" not null,
  -- The event's.
  position bigint not null,
  event_id text collate "C" not null,
  -- `main` or a thread's root.
  thread_id text collate "C" not null,
  sender text collate "C" not null,
  notify boolean not null,
  highlight boolean not null,
  -- As JSON; null for none.
  tweaks text,
  primary key (room_id, position)
);
create index notifications_position on notifications (position);

-- Members to whom the event means something else: mentioned, invited, with rules of their own, or ignoring its sender.
create table notification_exceptions (
  user_id text collate "C" not null,
  room_id text collate "C" not null,
  position bigint not null,
  notify boolean not null,
  highlight boolean not null,
  tweaks text,
  primary key (user_id, room_id, position)
);
create index notification_exceptions_room on notification_exceptions (room_id, position);

-- Where each local member came into the room: nothing before it is unread.
create table unread_starts (
  room_id text collate "C" not null,
  user_id text collate "C" not null,
  position bigint not null,
  primary key (room_id, user_id)
);

-- What happened before this was kept counts as read.
insert into stream_followers select 'notifications', coalesce(max(position), 0) from stream_writers;
insert into unread_starts select room_id, user_id, position from memberships where membership = 'join';
