-- Full text search: what the index follower has read of the events, apart from them so that writing an event costs nothing
-- of it (docs/adr/0012-search-index.md).

create table event_search (
  event_nid bigint primary key,
  room_id text collate "C" not null,
  type text collate "C" not null,
  sender text collate "C" not null,
  position bigint not null,
  -- What filters ask about: whether the content has a `url`.
  has_url boolean not null,
  -- The words as they are written and as English stems, and one lexeme that names the room.
  words tsvector not null
);
create index event_search_words on event_search using gin (words);
create index event_search_room on event_search (room_id);

-- Up to where in the stream of each writer the index is complete.
create table search_positions (
  writer_id smallint primary key,
  position bigint not null
);
