-- What operators keep about reports, media and rooms.

alter table reports drop constraint reports_state_check;
update reports set state = 'resolved' where state = 'closed';
alter table reports
  add constraint reports_state_check check (state in ('open', 'resolved')),
  -- Who takes care of it; a name of the operators' own choice.
  add column assignee text,
  add column note text,
  -- Of the last change: when, and who made it.
  add column updated_at bigint,
  add column updated_by text collate "C";

-- Whether what withdraws all media of a user or a room passes this one over.
alter table media add column protected boolean not null default false;

-- Figures of rooms, counted up to a position in the stream: what came since is added when somebody asks.
create table room_statistics (
  room_id text collate "C" primary key references rooms on delete cascade,
  position bigint not null,
  name text,
  joined_members bigint not null,
  local_members bigint not null,
  events bigint not null,
  -- Of the events' text.
  bytes bigint not null
);
