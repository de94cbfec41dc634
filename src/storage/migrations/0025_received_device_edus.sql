-- What other servers say to and about devices: acknowledged when it is here, and taken from here by the features that
-- deliver it.

create table received_to_device (
  received_id bigint generated always as identity primary key,
  account_id bigint not null,
  device_id text collate "C" not null,
  sender text collate "C" not null,
  type text collate "C" not null,
  -- A server that sends a message again gives it the same id.
  message_id text collate "C" not null,
  content text not null,
  received_at bigint not null,
  foreign key (account_id, device_id) references devices on delete cascade,
  unique (account_id, device_id, sender, message_id)
);

-- The newest that was said of each device of a user of another server.
create table received_device_updates (
  user_id text collate "C" not null,
  device_id text collate "C" not null,
  stream_id bigint not null,
  -- As it came.
  content text not null,
  received_at bigint not null,
  primary key (user_id, device_id)
);

create table received_signing_keys (
  user_id text collate "C" primary key,
  content text not null,
  received_at bigint not null
);
