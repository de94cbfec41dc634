-- Transactions of other servers: acknowledged when they are here, worked on in order per room, and taken up again after
-- a crash.

create table inbound_pdus (
  inbound_id bigint generated always as identity primary key,
  room_id text collate "C" not null,
  origin text collate "C" not null,
  -- As it came, without what we do not read; removed when it was worked on.
  pdu text not null,
  received_at bigint not null
);
create index inbound_pdus_room on inbound_pdus (room_id, inbound_id);

-- What was answered, for a server that asks again because the answer was lost.
create table inbound_transactions (
  origin text collate "C" not null,
  txn_id text collate "C" not null,
  answer text not null,
  received_at bigint not null,
  primary key (origin, txn_id)
);
create index inbound_transactions_received on inbound_transactions using brin (received_at);
