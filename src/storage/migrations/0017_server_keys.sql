-- Signing keys: this server's former ones, and those of other servers.

-- What they signed stays valid; they are published with the time at which they were replaced.
create table retired_signing_keys (
  key_id text collate "C" primary key,
  -- Unpadded base64.
  public_key text collate "C" not null,
  expired_at bigint not null
);

-- The key that is to replace the current one: it is announced before its file is put in place.
alter table server_identity
  add column next_signing_key_id text collate "C",
  add column next_signing_public_key text collate "C";

create table server_keys (
  server_name text collate "C" not null,
  key_id text collate "C" not null,
  public_key text collate "C" not null,
  -- Unix milliseconds, at most seven days after it was fetched: for which events and requests the key is valid.
  valid_until bigint not null,
  -- When its server stopped using it; null while it does.
  expired_at bigint,
  primary key (server_name, key_id)
);

-- The signed documents that the keys came from, for those who ask us as a notary.
create table server_key_documents (
  server_name text collate "C" primary key,
  document text not null,
  fetched_at bigint not null,
  valid_until bigint not null
);
