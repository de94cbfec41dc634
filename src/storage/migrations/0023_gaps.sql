-- no transaction
-- Gaps in timelines: events that follow others which we lack. The positions right before such an event are kept free, and
-- backfill puts there what it finds.
alter table events add column if not exists after_gap boolean not null default false;
create index concurrently if not exists events_after_gap on events (room_id, position) where after_gap;
