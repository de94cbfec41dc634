-- What reaches users beside the events of their rooms: who is there, and pushes to devices that do not sync.

-- Written when it changes; who is online is so only as long as they sync.
create table presence (
  user_id text collate "C" primary key,
  presence text collate "C" not null check (presence in ('online', 'unavailable', 'offline')),
  status_msg text,
  last_active_at bigint not null
);
create index presence_present on presence (user_id) where presence <> 'offline';

create table pushers (
  pusher_id bigint generated always as identity primary key,
  user_id text collate "C" not null,
  -- The session that set it, which it ends with.
  device_id text collate "C" not null,
  app_id text collate "C" not null,
  pushkey text collate "C" not null,
  kind text collate "C" not null,
  app_display_name text not null,
  device_display_name text not null,
  profile_tag text not null,
  lang text not null,
  -- As JSON.
  data text not null,
  -- The notifications of the user up to here were pushed, or are not to be.
  position bigint not null,
  unique (user_id, app_id, pushkey)
);
create index pushers_pushkey on pushers (app_id, pushkey);
create index pushers_device on pushers (user_id, device_id);
