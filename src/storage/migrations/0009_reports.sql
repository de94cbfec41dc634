-- What users reported about events, rooms and other users. Reports outlive what they are about.
create table reports (
  report_id bigint generated always as identity primary key,
  kind text collate "C" not null check (kind in ('event', 'room', 'user')),
  reporter text collate "C" not null,
  reported_room text collate "C",
  reported_event text collate "C",
  -- For an event, its sender.
  reported_user text collate "C",
  reason text not null,
  state text collate "C" not null default 'open' check (state in ('open', 'closed')),
  created_at bigint not null
);
create index reports_state on reports (state, report_id);
