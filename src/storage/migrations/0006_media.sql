-- The media repository. Files are named by the SHA-256 of their content, in hex: equal content is stored once.

-- Since when unauthenticated clients get nothing new: the first start of a version that has this table.
create table media_freeze (
  only_row boolean primary key default true check (only_row),
  frozen_at bigint not null
);

create table media (
  -- The server name of the mxc:// URI; our own for local and external media.
  origin text collate "C" not null,
  media_id text collate "C" not null,
  kind text collate "C" not null check (kind in ('local', 'remote', 'external')),
  -- Null for external media, and for remote media whose server did not say.
  user_id text collate "C",
  -- Null while nothing has been uploaded to an id that was created ahead.
  sha256 text collate "C",
  size bigint not null default 0,
  content_type text collate "C",
  file_name text,
  created_at bigint not null,
  -- When the content came: of local media its upload, of remote media its arrival here.
  stored_at bigint,
  -- Until when content may be uploaded to an id without any.
  unused_expires_at bigint,
  last_access_at bigint not null,
  -- The administrator who withdrew it from everybody.
  quarantined_by text collate "C",
  primary key (origin, media_id),
  check (sha256 is not null or (kind = 'local' and unused_expires_at is not null))
);
create index media_sha256 on media (sha256) where sha256 is not null;
create index media_user on media (user_id) include (size) where user_id is not null;
create index media_sparse on media (unused_expires_at) where sha256 is null;
create index media_kind_access on media (kind, last_access_at);

-- Thumbnails belong to content, so equal files share them.
create table media_thumbnails (
  source_sha256 text collate "C" not null,
  -- The box and method that it was made for; 0 by 0 is a still picture in full size.
  width integer not null,
  height integer not null,
  method text collate "C" not null,
  animated boolean not null,
  sha256 text collate "C" not null,
  size bigint not null,
  content_type text collate "C" not null,
  created_at bigint not null,
  primary key (source_sha256, width, height, method, animated)
);
create index media_thumbnails_sha256 on media_thumbnails (sha256);

-- Files that perhaps no row names: noted before a file appears and together with the removal of its row, and looked at
-- again until the file is either named or gone. So files and rows agree after a crash without a walk over all files.
create table media_file_checks (
  sha256 text collate "C" primary key,
  noted_at bigint not null
);

-- What pages say about themselves, by the SHA-256 of their URL.
create table url_previews (
  url_hash text collate "C" primary key,
  -- JSON text, as clients get it.
  preview text not null,
  -- The external media that it shows.
  media_id text collate "C",
  expires_at bigint not null
);
create index url_previews_expiry on url_previews (expires_at);
create index url_previews_media on url_previews (media_id) where media_id is not null;
