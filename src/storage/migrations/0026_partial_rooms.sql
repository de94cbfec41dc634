-- Rooms that were joined without their members, which are fetched afterwards (docs/adr/0019-partial-rooms.md).

alter table partial_state_rooms
  drop column device_list_position,
  -- As the server said that let us in: who is told of our events, and who may be asked, while members are missing.
  add column servers text[] collate "C" not null default '{}',
  -- The join by which the room came here without its members: what came since is judged once more.
  add column first_nid bigint not null default 0;

-- The position from which on the room's members were all here; whoever wants all of them has not seen it before.
alter table rooms add column complete_from bigint not null default 0;
