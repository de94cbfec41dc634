-- Who joins a room by way of a server that is in it leaves it to that server to tell the others.

-- Whether this server sends the event to the others; null where that goes by its sender.
alter table events add column outgoing boolean;
