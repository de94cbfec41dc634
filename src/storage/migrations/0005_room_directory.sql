-- The published room directory is a small part of all rooms.
create index rooms_public on rooms (room_id) where is_public;
