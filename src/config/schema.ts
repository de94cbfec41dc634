/**
 * Every key of the configuration file: its kind, default, meaning, and whether it can change without a restart. The
 * example file, docs/configuration.md, the JSON Schema and the checks all come from this table.
 */
import { getRoomVersion } from '../protocol/room-version.ts';
import { type Infer, list, optional, optionalSection, secret, section, value } from './nodes.ts';
import * as is from './values.ts';

const S3_NAME = is.textMatching('a name', (text) => /^[\x21-\x7e]{1,255}$/.test(text));
/** Keys may have 1,024 bytes, of which a file's name takes 64. */
const S3_PREFIX = is.textMatching('a prefix like media/', (text) => /^[\x21-\x7e]{0,255}$/.test(text));

/** A family of requests: a bucket of `burst` that refills at `per_second`, for each user or address. */
const rateLimit = (doc: string, perSecond: number, burst: number) =>
  section(doc, {
    per_second: value(is.decimal(0.0001, 1_000_000), 'Requests per second in the long run.', {
      default: perSecond,
      reloadable: true,
    }),
    burst: value(is.integer(1, 1_000_000), 'Requests that may come at once.', { default: burst, reloadable: true }),
  });

const PROXY_URL = is.textMatching(
  'a URL that starts with http:// or https://, with a host and maybe a port only',
  (text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    return (
      url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:') && `${url.origin}/` === url.href
    );
  },
);
const PROXY_USERNAME = is.textMatching('a name without a colon', (text) => /^[^:\p{Cc}]{1,255}$/u.test(text));

const registration = section('Who may make an account.', {
  enabled: value(
    is.boolean,
    'Whether clients can register accounts. Until the first account exists, the token that is printed at start works even where this is false.',
    { default: false, reloadable: true },
  ),
  requires_token: value(
    is.boolean,
    'Whether registering needs a token. Without one, anybody who reaches the server can make accounts, and spammers will.',
    { default: true, reloadable: true },
  ),
  token: secret('A token that can be used any number of times.', { reloadable: true }),
  shared_secret: secret(
    'Scripts that know this secret can register users by a signed request, as with the register endpoint of other homeservers. Off without it.',
  ),
  admin_pre_shared_secret: secret(
    'A bearer token for those endpoints of the admin API that accept it, such as the one that makes users. Off without it.',
  ),
  password_requirements: section('What a password needs.', {
    min_length: value(is.integer(1, 512), 'Characters.', { default: 10, reloadable: true }),
    min_entropy: value(
      is.decimal(0, 1000),
      'Estimated strength in bits: 50 stands up to an attacker with the hashes.',
      {
        default: 50,
        reloadable: true,
      },
    ),
  }),
  guests: value(
    is.boolean,
    'Whether anybody may have a guest account, with neither name nor password, to look at and to join rooms that allow it.',
    { default: false, reloadable: true },
  ),
  peppering: section('A secret that goes into every password hash, kept out of the database.', {
    pepper: secret('Once it is set, changing it locks everybody out.', { inline: false }),
  }),
});

export const schema = section('', {
  server_name: value(
    is.serverName,
    'The name in user ids, as in @alice:example.org. It can never be changed once there is data.',
    { default: 'localhost' },
  ),
  data_dir: value(
    is.path,
    "Everything that the server keeps: its own PostgreSQL, the signing key, media, PostgreSQL's log.",
    {
      default: './data',
    },
  ),
  listeners: list(
    'Where the server listens for clients and other servers.',
    {
      address: value(is.ipAddress, 'The address to listen on; 0.0.0.0 and :: are all of them.', {
        default: '127.0.0.1',
      }),
      port: value(is.port, 'The TCP port; 0 for any free one.', { default: 8008 }),
      unix: optional(is.path, 'A unix socket to listen on, in place of address and port.', {
        example: './hammerhead.sock',
      }),
      tls: optionalSection('Serve HTTPS. A reverse proxy can do that instead.', {
        certificate: value(is.path, 'PEM file with the certificate and its chain.', { default: './certificate.pem' }),
        key: value(is.path, 'PEM file with the private key.', { default: './key.pem' }),
      }),
    },
    { default: [{ address: '127.0.0.1', port: 8008 }] },
  ),
  trusted_proxies: value(
    is.listOf(is.network),
    'Reverse proxies whose X-Forwarded-For is believed. Everybody else is who he seems to be.',
    { default: [] },
  ),
  database: section('By default the server runs a PostgreSQL of its own in data_dir. With a URL it uses yours.', {
    url: secret(
      'A postgresql:// URL of an empty database with encoding UTF8, PostgreSQL 15 or newer: postgresql://user:password@host/database.',
    ),
    max_open_connections: value(is.integer(2, 10_000), 'Connections at once, besides the one that commits.', {
      default: 20,
    }),
    max_idle_connections: value(is.integer(0, 10_000), 'Unused connections that are kept.', { default: 10 }),
    max_open_lifetime: value(is.duration, 'Age at which a connection is replaced; 0 for never.', { default: '1h' }),
    max_idle_lifetime: value(is.duration, 'Time after which an unused connection is closed; 0 for never.', {
      default: '10m',
    }),
  }),
  registration,
  sessions: section('How long a log-in lasts.', {
    access_token_lifetime: value(
      is.duration,
      'How long an access token is good for where the client can refresh it. Others never expire.',
      { default: '5m', reloadable: true },
    ),
    login_tokens: value(
      is.boolean,
      'Whether a user can log in a new device from one that is logged in, by a token that is good once and for two minutes.',
      { default: false, reloadable: true },
    ),
  }),
  rate_limits: section('How much one user, or one address before login, may ask. Answered by 429 M_LIMIT_EXCEEDED.', {
    enabled: value(is.boolean, 'Whether to limit at all.', { default: true, reloadable: true }),
    login: rateLimit('Logins from one address.', 0.5, 20),
    login_failed: rateLimit('Wrong passwords for one account.', 0.2, 5),
    registration: rateLimit('Accounts made from one address.', 0.2, 5),
    messages: rateLimit('Events sent by one user.', 10, 100),
    joins: rateLimit('Rooms joined by one user.', 1, 20),
    invites: rateLimit('Invites sent by one user.', 1, 20),
    room_creation: rateLimit('Rooms created by one user.', 0.5, 10),
    profile: rateLimit('Profile changes by one user: each goes to all of his rooms.', 0.2, 5),
    search: rateLimit('Searches by one user.', 1, 10),
    key_requests: rateLimit('Key uploads, queries and claims by one user.', 20, 200),
    reports: rateLimit('Reports sent by one user.', 0.1, 5),
    presence: rateLimit('Presence updates by one user.', 1, 10),
  }),
  well_known: section('What /.well-known/matrix tells clients and servers that know only the server name.', {
    client: optional(is.url(['https:', 'http:']), 'Base URL for clients. Without it, clients are told nothing.', {
      example: 'https://matrix.example.org',
    }),
    server: optional(
      is.serverName,
      'Host and port for other servers. Without it, they use port 8448 of the server name.',
      { example: 'matrix.example.org:443' },
    ),
  }),
  federation: section('Talking with other servers.', {
    enabled: value(is.boolean, 'Whether to talk with other servers at all.', { default: true }),
    allow: value(is.listOf(is.serverGlob), 'Globs of server names that are talked with; empty for all.', {
      default: [],
    }),
    deny: value(is.listOf(is.serverGlob), 'Globs of server names that are never talked with.', { default: [] }),
    allowed_networks: value(is.listOf(is.network), 'Networks where servers may be although they are not public.', {
      default: [],
    }),
    denied_networks: value(is.listOf(is.network), 'Networks where no server is looked for although they are public.', {
      default: [],
    }),
    certificates: optional(
      is.path,
      'PEM file with authorities whose certificates are accepted besides those that the system trusts.',
      { example: './authorities.pem' },
    ),
    trusted_key_servers: value(
      is.listOf(is.serverName),
      'Servers that are believed about the signing keys of servers that cannot be asked any more. Without any, what servers that are gone have signed cannot be checked, and rooms with a history may be impossible to join.',
      { default: ['matrix.org'] },
    ),
  }),
  proxy: optionalSection(
    'An HTTP proxy through which other servers, push gateways and the pages of link previews are reached. The networks that are denied for each of these hold as without it.',
    {
      url: value(PROXY_URL, 'Where it is: it is asked to CONNECT. Needed.', { default: 'http://127.0.0.1:3128' }),
      username: optional(PROXY_USERNAME, 'If it wants one.', { example: 'hammerhead' }),
      password: secret('If it wants one.'),
      bypass_hosts: value(is.listOf(is.hostGlob), 'Globs of host names that are connected to without it.', {
        default: [],
      }),
      bypass_networks: value(is.listOf(is.network), 'Networks that are connected to without it.', { default: [] }),
      resolve_names: value(
        is.boolean,
        'Whether names are looked up here, so that the proxy is asked for addresses that are allowed. Where this is false the proxy gets the names, and has to keep strangers out of your networks itself.',
        { default: true },
      ),
    },
  ),
  media_repo: section('Uploaded files.', {
    root_path: optional(is.path, 'Where they are stored.', {
      example: './data/media',
      defaultDoc: '`media` in `data_dir`',
    }),
    storage: section('Where the bytes lie. `hammerhead media migrate` moves them.', {
      type: value(is.oneOf('file', 's3'), 'Files below `root_path`, or any S3-compatible store.', { default: 'file' }),
      s3: optionalSection('The S3-compatible store. Uploads under way lie below `root_path` until they are sent.', {
        endpoint: optional(is.url(['https:', 'http:']), 'Its URL.', {
          example: 'https://s3.example.org',
          defaultDoc: "Amazon's for the region",
        }),
        region: value(S3_NAME, 'The region, or what the store calls so.', { default: 'us-east-1' }),
        bucket: optional(S3_NAME, 'The bucket; it has to be there. Needed.', { example: 'hammerhead' }),
        prefix: value(S3_PREFIX, 'Stands in front of the name of each object.', { default: '' }),
        access_key: optional(S3_NAME, 'The id of the access key.', {
          example: 'AKIAIOSFODNN7EXAMPLE',
          defaultDoc: "what the machine's role or environment says",
        }),
        secret_key: secret('The secret of the access key.'),
        path_style: value(is.boolean, 'Whether the bucket stands in the path, as most stores but Amazon want it.', {
          default: true,
        }),
      }),
    }),
    max_upload_size: value(is.size, 'The largest upload.', { default: '50MB', reloadable: true }),
    max_pending_uploads: value(is.integer(1, 10_000), 'Media ids that one user may have without content.', {
      default: 10,
      reloadable: true,
    }),
    unused_expires_after: value(is.duration, 'How long a media id waits for its content.', {
      default: '24h',
      reloadable: true,
    }),
    max_user_size: value(is.size, 'Bytes that one user may have stored; 0 for any number.', {
      default: 0,
      reloadable: true,
    }),
    max_user_files: value(is.integer(0, 1_000_000_000), 'Files that one user may have stored; 0 for any number.', {
      default: 0,
      reloadable: true,
    }),
    unauthenticated_access: value(
      is.oneOf('allowed', 'frozen', 'denied'),
      'What clients without a token may download by the old endpoints: everything, what was stored before the first start of a version with this key, or nothing.',
      { default: 'frozen', reloadable: true },
    ),
    max_image_pixels: value(is.integer(1, 1_000_000_000), 'Larger images get no thumbnails.', { default: 32_000_000 }),
    max_image_frames: value(is.integer(1, 100_000), 'Longer animations get still thumbnails.', { default: 300 }),
    retention: section('When media that nobody looks at are deleted; 0 keeps them.', {
      local: value(is.duration, 'Uploads of this server, since they were last downloaded.', {
        default: 0,
        reloadable: true,
      }),
      remote: value(is.duration, 'Copies from other servers, since they were last downloaded.', {
        default: 0,
        reloadable: true,
      }),
    }),
    remote: section('Media of other servers, which are fetched when users here look at them.', {
      max_size: value(is.size, 'Bytes that are kept, those used last; 0 for any number.', {
        default: 0,
        reloadable: true,
      }),
      user_burst: value(is.size, 'Bytes that one user, or one address, may have fetched at once; 0 for any number.', {
        default: '500MB',
        reloadable: true,
      }),
      user_per_second: value(is.size, 'Bytes a second that he may have fetched in the long run.', {
        default: '100KB',
        reloadable: true,
      }),
    }),
    previews: section('Previews of links: the server fetches pages that its users name.', {
      enabled: value(is.boolean, 'Whether to make any.', { default: true }),
      allowed_networks: value(is.listOf(is.network), 'Networks that may be reached although they are not public.', {
        default: [],
      }),
      denied_networks: value(is.listOf(is.network), 'Networks that may not be reached although they are public.', {
        default: [],
      }),
      blocked_hosts: value(is.listOf(is.hostGlob), 'Globs of host names that are never asked.', { default: [] }),
    }),
  }),
  rooms: section('Rooms.', {
    default_version: value(
      is.textMatching('a room version from "1" to "12", in quotes', (id) => getRoomVersion(id) !== undefined),
      'The version of new rooms where the client asks for none.',
      { default: '12' },
    ),
  }),
  logging: section('What the server logs, and where to.', {
    writers: list(
      'Each writer gets every line of its level and above.',
      {
        type: value(is.oneOf('stdout', 'stderr', 'file'), 'Where to write.', { default: 'stdout' }),
        path: optional(is.path, 'The file, for type file.', { example: './data/logs/hammerhead.log' }),
        format: value(is.oneOf('pretty', 'json'), 'pretty for people, json for programs.', { default: 'pretty' }),
        min_level: value(is.oneOf('trace', 'debug', 'info', 'warn', 'error'), 'The lowest level to write.', {
          default: 'info',
        }),
      },
      { default: [{ type: 'stdout', format: 'pretty', min_level: 'info' }] },
    ),
  }),
  presence: section('Who is online.', {
    enabled: value(is.boolean, 'Whether users see it of those that they share a room with.', { default: true }),
  }),
  push: section('Notifications to devices that do not sync, by the push gateways that clients name.', {
    enabled: value(is.boolean, 'Whether to send any.', { default: true }),
    allow_http: value(is.boolean, 'Whether gateways may be without TLS: for development and private networks.', {
      default: false,
    }),
    allowed_networks: value(is.listOf(is.network), 'Networks that may be reached although they are not public.', {
      default: [],
    }),
    denied_networks: value(is.listOf(is.network), 'Networks that may not be reached although they are public.', {
      default: [],
    }),
  }),
  metrics: section('Prometheus metrics, on a listener of their own: they are not for everybody.', {
    enabled: value(is.boolean, 'Whether to serve /metrics.', { default: false }),
    address: value(is.ipAddress, 'The address to listen on.', { default: '127.0.0.1' }),
    port: value(is.port, 'The TCP port; 0 for any free one.', { default: 9008 }),
  }),
  experiments: section('Unfinished features. None at the moment.', {}),
});

/** The checked configuration; `mediaRepo.rootPath` and the like are absolute paths. */
export type FileConfig = Infer<typeof schema>;
