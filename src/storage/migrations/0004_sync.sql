-- What a sync sends beside events: account data, receipts, and the filters that clients keep here.

create table account_data (
  user_id text collate "C" not null,
  -- Empty for the global account data.
  room_id text collate "C" not null,
  type text collate "C" not null,
  content text not null,
  writer_id smallint not null,
  position bigint not null,
  primary key (user_id, room_id, type)
);
create index account_data_position on account_data (user_id, position);

create table receipts (
  room_id text collate "C" not null,
  receipt_type text collate "C" not null,
  user_id text collate "C" not null,
  -- Empty for unthreaded receipts.
  thread_id text collate "C" not null,
  event_id text collate "C" not null,
  -- Where that event stands in the stream: a receipt never moves back.
  event_position bigint not null,
  ts bigint not null,
  writer_id smallint not null,
  position bigint not null,
  primary key (room_id, receipt_type, user_id, thread_id)
);
create index receipts_room_position on receipts (room_id, position);

-- A filter's id is made from its content, so that the same filter is stored once per user.
create table filters (
  user_id text collate "C" not null,
  filter_id text collate "C" not null,
  definition text not null,
  created_at bigint not null,
  primary key (user_id, filter_id)
);
