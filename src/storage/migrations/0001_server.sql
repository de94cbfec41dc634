-- Whose database this is: one row, written at the first start. A different server name or signing key is refused.
create table server_identity (
  only_row boolean primary key default true check (only_row),
  server_name text collate "C" not null,
  signing_key_id text collate "C" not null,
  -- Unpadded base64.
  signing_public_key text collate "C" not null,
  created_at bigint not null
);
