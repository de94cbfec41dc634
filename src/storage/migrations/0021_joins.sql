-- Joins by way of this server: what came by a handshake is ours to send to the other servers in the room.

alter table events add column forwarded boolean not null default false;
