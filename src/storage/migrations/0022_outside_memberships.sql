-- Memberships of users of ours in rooms that this server is not in: invites that came from other servers, knocks on
-- rooms there, and how they ended.

create table outside_memberships (
  user_id text collate "C" not null,
  room_id text collate "C" not null,
  membership text collate "C" not null,
  room_version text collate "C" not null,
  -- Who made it so: the inviter, the user, or whoever took it away.
  sender text collate "C" not null,
  -- The server that it came by, which knows the room.
  via text collate "C" not null,
  -- The membership event.
  event_id text collate "C" not null,
  pdu text not null,
  -- What the room shows of itself: a JSON list of stripped state, the membership event included.
  stripped_state text not null,
  writer_id smallint not null,
  position bigint not null,
  primary key (user_id, room_id)
);
create index outside_memberships_position on outside_memberships (user_id, position);
create index outside_memberships_room on outside_memberships (room_id);
create index outside_memberships_stream on outside_memberships (position);
