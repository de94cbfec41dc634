-- Accounts of this server, what they log in with, and profiles.

create table accounts (
  account_id bigint generated always as identity primary key,
  localpart text collate "C" not null unique,
  -- Null where nobody can log in with a password.
  password_hash text,
  admin boolean not null default false,
  locked boolean not null default false,
  suspended boolean not null default false,
  deactivated boolean not null default false,
  erased boolean not null default false,
  is_guest boolean not null default false,
  created_at bigint not null
);

create table devices (
  account_id bigint not null references accounts on delete cascade,
  device_id text collate "C" not null,
  display_name text,
  created_at bigint not null,
  last_seen_at bigint,
  last_seen_ip text,
  last_seen_user_agent text,
  primary key (account_id, device_id)
);

-- Tokens are stored as the base64url of their SHA-256 only, and go with their device. `replaces` is the hash of the
-- refresh token that was exchanged for this one: kept until this one is used, since only then the old one is revoked.
create table access_tokens (
  token_hash text collate "C" primary key,
  account_id bigint not null,
  device_id text collate "C" not null,
  created_at bigint not null,
  expires_at bigint,
  replaces text collate "C",
  foreign key (account_id, device_id) references devices on delete cascade
);
create index access_tokens_device on access_tokens (account_id, device_id);

create table refresh_tokens (
  token_hash text collate "C" primary key,
  account_id bigint not null,
  device_id text collate "C" not null,
  created_at bigint not null,
  replaces text collate "C",
  foreign key (account_id, device_id) references devices on delete cascade
);
create index refresh_tokens_device on refresh_tokens (account_id, device_id);

create table registration_tokens (
  token text collate "C" primary key,
  -- Null for any number.
  uses_allowed integer,
  completed integer not null default 0,
  expires_at bigint,
  created_at bigint not null,
  -- Printed at a start without accounts: valid until the first account exists, even where registration is disabled.
  is_bootstrap boolean not null default false
);

-- User-interactive authentication under way. The session's id is the client's secret: its hash is stored, and the body is
-- known by an HMAC under the id, so that no row tells anything about a password in the body.
create table uia_sessions (
  session_hash text collate "C" primary key,
  account_id bigint references accounts on delete cascade,
  device_id text collate "C",
  operation text collate "C" not null,
  -- Null until the client has sent more than an empty body.
  body_mac text collate "C",
  completed text[] not null default '{}',
  registration_token text collate "C" references registration_tokens on delete cascade,
  expires_at bigint not null
);
create index uia_sessions_expiry on uia_sessions (expires_at);
create index uia_sessions_registration_token on uia_sessions (registration_token) where registration_token is not null;

-- Profile fields of local users, each as JSON text.
create table profiles (
  user_id text collate "C" not null,
  field text collate "C" not null,
  value text not null,
  primary key (user_id, field)
);
