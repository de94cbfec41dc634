-- no transaction
-- What the search index follows: the few kinds of events that hold text, and what takes text away.
create index concurrently if not exists events_searchable on events (writer_id, position)
  where type in ('m.room.message', 'm.room.name', 'm.room.topic', 'm.room.redaction');
