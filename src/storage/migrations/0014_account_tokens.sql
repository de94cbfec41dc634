-- Tokens that log in another device or prove to a service who somebody is: short-lived, kept by hash, and gone with the
-- device that asked for them.
create table login_tokens (
  token_hash text collate "C" primary key,
  account_id bigint not null,
  device_id text collate "C" not null,
  expires_at bigint not null,
  foreign key (account_id, device_id) references devices on delete cascade
);
create index login_tokens_device on login_tokens (account_id, device_id);
create index login_tokens_expiry on login_tokens (expires_at);

create table openid_tokens (
  token_hash text collate "C" primary key,
  account_id bigint not null,
  device_id text collate "C" not null,
  expires_at bigint not null,
  foreign key (account_id, device_id) references devices on delete cascade
);
create index openid_tokens_device on openid_tokens (account_id, device_id);
create index openid_tokens_expiry on openid_tokens (expires_at);

-- What all refresh tokens of one log-in share, by hash: an old one that is shown again is known by it. Null for those of
-- before.
alter table refresh_tokens add column family_hash text collate "C";
create index refresh_tokens_family on refresh_tokens (family_hash);

-- Somebody asked for the job while it was under way: it is done once more.
alter table jobs add column again boolean not null default false;

-- Guests are few among accounts, and are looked for at each start.
create index accounts_guests on accounts (localpart) where is_guest;
