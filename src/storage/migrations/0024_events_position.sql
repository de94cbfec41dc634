-- no transaction
-- Whoever reads the stream asks room by room: rows move when they are redacted, so an index over their blocks finds little.
drop index concurrently if exists events_position;
