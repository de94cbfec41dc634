/**
 * The media API over real HTTP, a real database and a scratch folder, without accounts: a token is a localpart. Time is a
 * clock that the test moves.
 */
import { existsSync, globSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mediaEndpoints } from '../../src/api/client/media.ts';
import { mediaPreviewEndpoints } from '../../src/api/client/media-preview.ts';
import { mediaUploadEndpoints } from '../../src/api/client/media-upload.ts';
import { createRateLimiter } from '../../src/http/rate-limiter.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { createMedia, type Media, type MediaOptions } from '../../src/media/media.ts';
import type { PreviewSettings } from '../../src/media/previews.ts';
import type { UploadLimits } from '../../src/media/uploads.ts';
import { MatrixError } from '../../src/protocol/errors.ts';
import type { ServerName, UserId } from '../../src/protocol/ids.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { textAt } from './json.ts';

export const SERVER = 'hs1' as ServerName;

export interface MediaServerOptions {
  readonly limits?: Partial<UploadLimits>;
  readonly media?: Partial<MediaOptions>;
  readonly previews?: Partial<PreviewSettings>;
  /** Opened by a test before, and closed by it. */
  readonly db?: TestDatabase;
  readonly rootPath?: string;
}

export interface MediaServer extends AsyncDisposable {
  readonly url: string;
  readonly media: Media;
  readonly db: TestDatabase;
  readonly rootPath: string;
  readonly clock: { advance(milliseconds: number): void };
  readonly suspended: Set<string>;
  /** Lines of level error. */
  readonly faults: string[];
  readonly limits: { -readonly [K in keyof UploadLimits]: UploadLimits[K] };
  /** Names of the files in their places, and of those that are staged. */
  files(): readonly string[];
  staged(): readonly string[];
  request(method: string, path: string, options?: MediaRequest): Promise<MediaAnswer>;
  /** Uploads, and returns the media id. */
  upload(content: string | Uint8Array<ArrayBuffer>, options?: MediaRequest & { fileName?: string }): Promise<string>;
  download(mediaId: string, options?: MediaRequest): Promise<MediaAnswer>;
}

export interface MediaRequest {
  /** 'alice' unless it says otherwise; empty for none. */
  readonly token?: string;
  readonly body?: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface MediaAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** Undefined for what is not JSON. */
  readonly json: unknown;
}

const DEFAULT_LIMITS: UploadLimits = {
  maxUploadSize: 1_000_000,
  maxPending: 3,
  unusedLifetime: 60_000,
  maxUserBytes: 0,
  maxUserFiles: 0,
};
const DEFAULT_PREVIEWS: PreviewSettings = {
  userAgent: 'Hammerhead test',
  allowedNetworks: [],
  deniedNetworks: [],
  ports: [],
  blockedHosts: [],
  maxImageBytes: 1_000_000,
};

export async function startMediaServer(options: MediaServerOptions = {}): Promise<MediaServer> {
  const db = options.db ?? (await createTestDatabase());
  const rootPath = options.rootPath ?? (await mkdtemp(join(tmpdir(), 'hammerhead-media-')));
  const clock = createMovableClock();
  const faults: string[] = [];
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const media = await createMedia({
    database: db.database,
    clock,
    random: secureRandom,
    logger: createFaultLogger(faults),
    serverName: SERVER,
    rootPath,
    images: { maxPixels: 4_000_000, maxFrames: 20 },
    limits: () => limits,
    retention: () => ({ localMedia: 0, remoteMedia: 0, maxRemoteBytes: 0 }),
    remoteLimits: () => ({ burst: 0, perSecond: 0 }),
    unauthenticatedAccess: () => 'frozen',
    previews: options.previews === undefined ? undefined : { ...DEFAULT_PREVIEWS, ...options.previews },
    ...options.media,
  });
  const suspended = new Set<string>();
  const http = createHttpServer({
    endpoints: [...mediaEndpoints(media), ...mediaUploadEndpoints(media), ...mediaPreviewEndpoints(media)],
    listeners: [{ address: '127.0.0.1', port: 0 }],
    authenticator: {
      authenticate({ authorization }, { auth }) {
        if (auth === 'none') return undefined;
        if (authorization === undefined) throw new MatrixError('M_MISSING_TOKEN', 'no token');
        const name = authorization.replace('Bearer ', '');
        const userId = `@${name}:${SERVER}` as UserId;
        return { userId, deviceId: 'D', accountId: 1, isGuest: false, isSuspended: suspended.has(name) };
      },
    },
    rateLimiter: createRateLimiter({ clock, limits: {} }),
    logger: createFaultLogger(faults),
    clock,
    random: secureRandom,
  });
  await http.listen();
  const url = http.addresses()[0] ?? '';
  const request: MediaServer['request'] = (method, path, given) => send(url + path, method, given);
  return {
    url,
    media,
    db,
    rootPath,
    clock,
    suspended,
    faults,
    limits,
    files: () => globSync('??/??/*', { cwd: rootPath }).map((path) => path.slice(6)),
    staged: () => (existsSync(join(rootPath, 'tmp')) ? globSync('*', { cwd: join(rootPath, 'tmp') }) : []),
    request,
    async upload(content, { fileName, ...given } = {}) {
      const query = fileName === undefined ? '' : `?filename=${encodeURIComponent(fileName)}`;
      const answer = await request('POST', `/_matrix/media/v3/upload${query}`, { body: content, ...given });
      if (answer.status !== 200) throw new Error(`upload: ${answer.status} ${answer.bytes.toString()}`);
      return textAt(answer.json, 'content_uri').replace(`mxc://${SERVER}/`, '');
    },
    download: (mediaId, given) => request('GET', `/_matrix/client/v1/media/download/${SERVER}/${mediaId}`, given),
    async [Symbol.asyncDispose]() {
      await http.close();
      await media[Symbol.asyncDispose]();
      if (options.rootPath === undefined) await rm(rootPath, { recursive: true, force: true });
      if (options.db === undefined) await db.drop();
    },
  };
}

async function send(url: string, method: string, given: MediaRequest = {}): Promise<MediaAnswer> {
  const { token = 'alice', body } = given;
  const isStream = body instanceof ReadableStream;
  const response = await fetch(url, {
    method,
    headers: { ...(token === '' ? undefined : { authorization: `Bearer ${token}` }), ...given.headers },
    ...(body === undefined ? {} : { body }),
    ...(isStream ? { duplex: 'half' } : {}),
    redirect: 'manual',
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isJson = response.headers.get('content-type') === 'application/json' && bytes.length > 0;
  return { status: response.status, headers: response.headers, bytes, json: isJson ? parse(bytes) : undefined };
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch {
    // Downloads may be anything under any type.
    return undefined;
  }
}

/** Real time plus what the test adds; timers run in real time. */
function createMovableClock(): Clock & { advance(milliseconds: number): void } {
  let offset = 0;
  return {
    now: () => systemClock.now() + offset,
    monotonic: () => systemClock.monotonic() + offset,
    after: (delay, callback) => systemClock.after(delay, callback),
    advance(milliseconds) {
      offset += milliseconds;
    },
  };
}

function createFaultLogger(faults: string[]): Logger {
  const nothing = (): void => undefined;
  return {
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: ({ err }, message) => faults.push(`${message}: ${err instanceof Error ? err.stack : ''}`),
    child: () => createFaultLogger(faults),
  };
}
