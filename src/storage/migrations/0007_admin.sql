-- no transaction
-- What the admin API keeps: background work, the record of who did what, and what is left of deleted rooms.

create table if not exists jobs (
  job_id bigint generated always as identity primary key,
  kind text collate "C" not null,
  -- What it is done to: a user, a room.
  subject text collate "C" not null,
  params text not null,
  -- Where the next step begins; null before the first.
  cursor text,
  progress text not null default '{}',
  state text collate "C" not null check (state in ('queued', 'running', 'done', 'failed', 'cancelled')),
  cancel_requested boolean not null default false,
  -- Failures since the last step that succeeded.
  attempts integer not null default 0,
  run_after bigint not null,
  error text,
  requested_by text collate "C" not null,
  created_at bigint not null,
  finished_at bigint
);
create unique index if not exists jobs_active on jobs (kind, subject) where state in ('queued', 'running');
create index if not exists jobs_due on jobs (run_after) where state = 'queued';

-- Nothing in it is ever changed or taken out.
create table if not exists audit_log (
  entry_id bigint generated always as identity primary key,
  at bigint not null,
  -- A user id, 'pre-shared secret', or null where nobody was authenticated.
  actor text collate "C",
  method text collate "C" not null,
  -- As declared, and its parameters as they were given.
  path text collate "C" not null,
  params text[] not null,
  -- The body as JSON, without secrets.
  body text,
  ip text not null,
  user_agent text not null,
  status integer not null,
  errcode text collate "C"
);
create or replace function refuse_audit_change() returns trigger language plpgsql
  as $$ begin raise exception 'the audit log only grows'; end $$;
create or replace trigger audit_log_only_grows before update or delete or truncate on audit_log
  for each statement execute function refuse_audit_change();

-- Who was in a room that is gone, so that a client that was away still hears that it left.
create table if not exists deleted_room_members (
  user_id text collate "C" not null,
  room_id text collate "C" not null,
  -- Where the membership ended in the stream.
  position bigint not null,
  primary key (user_id, room_id)
);

-- The room in which the server talks to a user.
create table if not exists server_notice_rooms (
  user_id text collate "C" primary key,
  room_id text collate "C" not null
);
create index if not exists server_notice_rooms_room on server_notice_rooms (room_id);

-- Deleting a room must find its rows without reading everybody's.
create index concurrently if not exists events_outlier_room on events (room_id) where position is null;
create index concurrently if not exists account_data_room on account_data (room_id) where room_id <> '';

-- Rooms that nobody of this server may enter, whether they are known here or not.
create table if not exists blocked_rooms (
  room_id text collate "C" primary key,
  blocked_by text collate "C" not null,
  created_at bigint not null
);
