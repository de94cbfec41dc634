/**
 * The whole server behind the admin API, over real HTTP and on a database of its own: accounts, rooms, sync, jobs. Media
 * and the configuration are stand-ins that note what they were asked. `crash` ends it without finishing anything, and
 * gives a second server on the same database.
 */
import { createAccountData } from '../../src/accounts/account-data.ts';
import { createAccounts } from '../../src/accounts/accounts.ts';
import { createAdminUsers } from '../../src/accounts/admin-users.ts';
import { createAuditLog } from '../../src/accounts/audit.ts';
import { createDeactivation, createDeactivationKind, DEACTIVATE } from '../../src/accounts/deactivation.ts';
import { createLastSeen } from '../../src/accounts/last-seen.ts';
import { createPasswordHasher } from '../../src/accounts/password-hasher.ts';
import { createMemberProfileLoader, createProfiles } from '../../src/accounts/profiles.ts';
import { createPushRules } from '../../src/accounts/push-rules.ts';
import { createRegistrationTokenAdmin } from '../../src/accounts/registration-token-admin.ts';
import { createTokenLoader } from '../../src/accounts/token-loader.ts';
import { adminApiEndpoints } from '../../src/api/admin/admin-api.ts';
import type { AdminEndpoint } from '../../src/api/admin/admin-endpoint.ts';
import type { MediaCounts, MediaCriteria } from '../../src/api/admin/media.ts';
import { synapseRegisterEndpoints } from '../../src/api/admin/synapse-register.ts';
import { createAccountDataEndpoints } from '../../src/api/client/account-data.ts';
import { clientAdminEndpoints } from '../../src/api/client/admin.ts';
import { devicesEndpoints } from '../../src/api/client/devices.ts';
import { loginEndpoints } from '../../src/api/client/login.ts';
import { passwordEndpoints } from '../../src/api/client/password.ts';
import { profileEndpoints } from '../../src/api/client/profile.ts';
import { registerEndpoints } from '../../src/api/client/register.ts';
import { roomEndpoints } from '../../src/api/client/room-endpoints.ts';
import { createSyncEndpoints } from '../../src/api/client/sync.ts';
import { whoamiEndpoints } from '../../src/api/client/whoami.ts';
import { createVisibility } from '../../src/engine/visible-events.ts';
import { createTyping } from '../../src/ephemeral/typing.ts';
import { createFederationAdmin } from '../../src/federation/federation-admin.ts';
import { createAdminSecret } from '../../src/http/admin-secret.ts';
import { Authenticator } from '../../src/http/authenticate.ts';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { createRateLimiter, type RateLimits } from '../../src/http/rate-limiter.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { createJobs, type JobKind, type Jobs } from '../../src/jobs/job-runner.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { createFileStore } from '../../src/media/file-store.ts';
import { createMediaAdmin } from '../../src/media/media-admin.ts';
import { createMediaModeration, createRoomQuarantineKind, QUARANTINE_ROOM } from '../../src/media/media-moderation.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import { DEFAULT_ROOM_VERSION } from '../../src/protocol/room-version.ts';
import { createSigningKey } from '../../src/protocol/signing.ts';
import { followAbandonedRooms } from '../../src/rooms/abandoned-rooms.ts';
import { createAdminRooms } from '../../src/rooms/admin-rooms.ts';
import { createBlockedRooms, withBlockedRooms } from '../../src/rooms/blocked-rooms.ts';
import { createRoomDeletion, createRoomDeletionKinds } from '../../src/rooms/delete-room.ts';
import { createGuestEvictionKind, EVICT_GUESTS, followGuestAccess } from '../../src/rooms/guest-access.ts';
import { createPduMaker } from '../../src/rooms/make-pdu.ts';
import { createMakeRoomAdmin } from '../../src/rooms/make-room-admin.ts';
import {
  createProfilePropagation,
  createProfilePropagationKind,
  PROPAGATE_PROFILE,
} from '../../src/rooms/profile-propagation.ts';
import { createUserRedaction } from '../../src/rooms/redact-user.ts';
import { createReportAdmin } from '../../src/rooms/report-admin.ts';
import { createRooms, type Rooms } from '../../src/rooms/rooms.ts';
import { createServerNotices, NOTICES_LOCALPART, withServerNotices } from '../../src/rooms/server-notices.ts';
import { createServerStatistics } from '../../src/rooms/server-statistics.ts';
import { createSync } from '../../src/sync/sync.ts';
import { createRequester, type RequestOptions, type TestAnswer } from './accounts-server.ts';
import { createAnswerChecker } from './answer-checker.ts';
import type { TestDatabase } from './database.ts';
import { createTestEngine, SERVER, type TestEngine } from './engine.ts';
import { TestUser } from './rooms-server.ts';

export const PSK = 'a-pre-shared-secret';
export const SHARED_SECRET = 'a-shared-secret-for-registration';
export const SIGNING_KEY = createSigningKey(Buffer.alloc(32, 7), 'test');

export interface AdminServerOptions {
  /** Undefined for none. */
  readonly psk?: string | undefined;
  readonly limits?: RateLimits;
  readonly reloadConfig?: () => Promise<object>;
  /** Where the files of a real media repository are; without it a stand-in is asked. */
  readonly mediaPath?: string;
  readonly media?: Partial<{
    deleteOne(origin: string, mediaId: string): Promise<MediaCounts>;
    purge(criteria: MediaCriteria): Promise<MediaCounts>;
  }>;
  /** How long rooms that everybody left are kept. */
  readonly abandonedDelayMs?: number;
  /** Stands around each leave of a room that the server makes. */
  readonly onLeave?: (userId: UserId, roomId: RoomId) => Promise<void>;
  /** Whether members are shown with their profiles. */
  readonly showsProfiles?: boolean;
  readonly wrapKind?: (kind: JobKind, name: string) => JobKind;
}

export interface AdminServer extends AsyncDisposable {
  readonly url: string;
  readonly db: TestDatabase;
  readonly at: TestEngine;
  readonly rooms: Rooms;
  readonly jobs: Jobs;
  readonly endpoints: readonly AdminEndpoint[];
  /** The administration endpoints of the specification. */
  readonly specEndpoints: readonly Endpoint[];
  readonly log: string[];
  /** The access token of the first account, an administrator. */
  readonly admin: string;
  request(method: string, path: string, options?: RequestOptions): Promise<TestAnswer>;
  /** To `/_hammerhead/v0/admin`, as the administrator. */
  api(method: string, path: string, body?: unknown): Promise<TestAnswer>;
  register(username: string, password?: string): Promise<{ userId: UserId; token: string; deviceId: string }>;
  user(token: string): TestUser;
  crash(options?: AdminServerOptions): Promise<AdminServer>;
}

/** Reserved as the user of an application service is. */
export const SERVICE_LOCALPART = 'bridge.bot';
export const PASSWORD = 'correct horse battery';

export async function startAdminServer(options: AdminServerOptions = {}): Promise<AdminServer> {
  return start(await createTestEngine(), { psk: PSK, ...options }, undefined);
}

async function start(
  at: TestEngine,
  options: AdminServerOptions,
  knownAdmin: string | undefined,
): Promise<AdminServer> {
  const stack = new AsyncDisposableStack();
  const log: string[] = [];
  const logger = createTestLogger(log);
  const { engine, hub, committer } = at;
  const { database } = at.db;
  const clock = systemClock;
  const shared = { database, clock, logger, serverName: SERVER, engine, hub };
  const loadProfile = options.showsProfiles === true ? createMemberProfileLoader(database) : async () => ({});
  const rooms = createRooms({
    ...shared,
    writerId: committer.writerId,
    defaultVersion: DEFAULT_ROOM_VERSION,
    loadProfile,
    isAdmin: async () => false,
    copyPersonalSettings: async () => undefined,
    searchIndex: { catchUp: async () => undefined },
    ignoredUsers: { load: async () => new Set() },
  });
  const rateLimiter = createRateLimiter({ clock, limits: options.limits ?? {} });
  const adminSecret = createAdminSecret({ secret: options.psk, rateLimiter });
  const lastSeen = createLastSeen(shared);
  const authenticator = new Authenticator({
    clock,
    loadToken: createTokenLoader({ database, serverName: SERVER }),
    onSeen: (sighting) => lastSeen.note(sighting),
    ...(adminSecret === undefined ? {} : { adminSecret }),
  });
  const forgetTokens = (accountId: number): void => authenticator.forget(accountId);
  const accounts = createAccounts({
    ...shared,
    random: secureRandom,
    policy: { enabled: true, requiresToken: false, guests: true },
    passwordRequirements: { minLength: 8, minEntropy: 0 },
    attempts: { check: () => undefined, failed: () => undefined },
    forgetTokens: (accountId, deviceIds) => authenticator.forget(accountId, deviceIds),
  });
  const blockedRooms = createBlockedRooms(shared);
  const notices = createServerNotices({ ...shared, rooms, tagRoom: async () => undefined });
  const leaveRoom = async (userId: UserId, roomId: RoomId): Promise<unknown> => {
    await options.onLeave?.(userId, roomId);
    return rooms.memberships.leave(
      { userId, deviceId: '', isGuest: false, isSuspended: false },
      { roomId, content: {} },
    );
  };
  const kinds: Readonly<Record<string, JobKind>> = {
    ...createRoomDeletionKinds({
      ...shared,
      leaveRoom,
      settleSending: async () => undefined,
      onForced: () => sync.forgetRecent(),
    }),
    [QUARANTINE_ROOM]: createRoomQuarantineKind(database),
    [DEACTIVATE]: createDeactivationKind({
      database,
      devices: accounts.devices,
      redactSome: createUserRedaction(shared),
      leaveRoom,
      onLeaveFailed: (cause, roomId) => logger.warn({ cause, roomId }, 'could not leave'),
    }),
    [EVICT_GUESTS]: createGuestEvictionKind(shared),
    [PROPAGATE_PROFILE]: createProfilePropagationKind({
      ...shared,
      loadProfile,
      onFailed: (cause, roomId) => logger.warn({ cause, roomId }, 'could not show a profile'),
    }),
  };
  const { wrapKind = (kind) => kind } = options;
  const wrapped = Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, wrapKind(kind, name)]));
  const mortal = createMortalClock();
  const jobs = createJobs({ ...shared, clock: mortal, kinds: wrapped });
  await jobs.start();
  const delay = options.abandonedDelayMs;
  const following = await followAbandonedRooms({ ...shared, jobs, ...(delay === undefined ? {} : { delayMs: delay }) });
  const followingGuests = await followGuestAccess({ ...shared, jobs });
  const deactivation = createDeactivation({ database, jobs, getPosition: () => committer.position, forgetTokens });
  const propagation = createProfilePropagation(jobs);
  const profiles = createProfiles({ database, serverName: SERVER, propagation });
  const typing = createTyping({ clock, boot: 'test' });
  const visibility = createVisibility(shared);
  const unread = { count: async () => undefined };
  const sync = createSync({ ...shared, visibility, typing, unread, presenceParts: undefined, committer });
  const accountData = createAccountData({ database, committer });
  const users = createAdminUsers({
    ...shared,
    random: secureRandom,
    sessions: accounts.sessions,
    hashPassword: (password) => createPasswordHasher({}).hash(password),
    forgetTokens,
    isReserved: (localpart) => localpart === NOTICES_LOCALPART || localpart === SERVICE_LOCALPART,
  });
  const audit = createAuditLog(shared);
  const endpoints = adminApiEndpoints({
    build: BUILD,
    startedAt: () => http.startedAt,
    isReady: () => Promise.resolve(true),
    makePdu: createPduMaker({ ...shared, random: secureRandom, signingKey: SIGNING_KEY }),
    async reloadConfig() {
      const config = (await options.reloadConfig?.()) ?? { serverName: SERVER };
      authenticator.forgetAll();
      return config;
    },
    serverName: SERVER,
    media:
      options.mediaPath !== undefined
        ? await createRealMedia(shared, options.mediaPath)
        : { deleteOne: async () => ({ ok: 1, fail: 0 }), purge: async () => ({ ok: 0, fail: 0 }), ...options.media },
    federation: createFederationAdmin({
      database,
      committer,
      sender: { get: () => undefined, retry: () => false },
      keyFetcher: { fetchFromOwners: async () => undefined },
      ownKeys: { serverName: SERVER, keys: [] },
      resolver: { resolve: async () => [] },
    }),
    deleteRoom: createRoomDeletion({ database, jobs }),
    adminRooms: createAdminRooms(shared),
    makeRoomAdmin: createMakeRoomAdmin({ ...shared, rooms }),
    reports: createReportAdmin(shared),
    statistics: createServerStatistics(database),
    blockedRooms,
    users,
    deactivation,
    mediaModeration: createMediaModeration({ ...shared, jobs }),
    registrationTokens: createRegistrationTokenAdmin({ ...shared, random: secureRandom }),
    jobs,
    audit,
    notices,
    random: secureRandom,
  });
  const specEndpoints = clientAdminEndpoints({ users, serverName: SERVER, audit });
  const http = createHttpServer({
    endpoints: [
      ...endpoints,
      ...specEndpoints,
      ...synapseRegisterEndpoints({ ...accounts, profiles, sharedSecret: SHARED_SECRET, clock, random: secureRandom }),
      ...registerEndpoints(accounts),
      ...loginEndpoints({ ...accounts, allowsLoginTokens: () => false }),
      ...whoamiEndpoints(),
      ...devicesEndpoints(accounts),
      ...passwordEndpoints({ ...accounts, deactivation }),
      ...profileEndpoints({ profiles }),
      ...createAccountDataEndpoints({ accountData, pushRules: createPushRules({ accountData }) }),
      ...createSyncEndpoints({ sync }),
      ...roomEndpoints(withBlockedRooms(withServerNotices(rooms, notices), blockedRooms)),
    ],
    listeners: [{ address: '127.0.0.1', port: 0 }],
    authenticator,
    rateLimiter,
    logger,
    clock,
    random: secureRandom,
    drainMs: 200,
  });
  await http.listen();
  stack.use(lastSeen);
  stack.use(sync);
  stack.use(typing);
  stack.use(following);
  stack.use(followingGuests);
  stack.defer(() => http.close());
  const url = http.addresses()[0] ?? '';
  const send = createRequester(url);
  const checkAnswer = createAnswerChecker(endpoints);
  const request: AdminServer['request'] = async (method, path, sent) => {
    const answer = await send(method, path, sent);
    checkAnswer(method, path, answer);
    return answer;
  };
  const register: AdminServer['register'] = async (username, password = PASSWORD) => {
    const body = { username, password, auth: { type: 'm.login.dummy' } };
    const { body: answer, status } = await request('POST', '/_matrix/client/v3/register', { body });
    if (status !== 200) throw new Error(`registration failed: ${JSON.stringify(answer)}`);
    const text = (key: string): string => String(Reflect.get(Object(answer), key));
    return { userId: text('user_id') as UserId, token: text('access_token'), deviceId: text('device_id') };
  };
  const admin = knownAdmin ?? (await register('root')).token;
  return {
    url,
    db: at.db,
    at,
    rooms,
    jobs,
    endpoints,
    specEndpoints,
    log,
    admin,
    request,
    register,
    api: (method, path, body) =>
      request(method, `/_hammerhead/v0/admin${path}`, { token: admin, ...(body === undefined ? {} : { body }) }),
    user: (token) => new TestUser(url, token),
    async crash(changed = {}) {
      await stack.disposeAsync();
      // The jobs are not told: what runs stays as it is, as when the process is killed.
      mortal.die();
      const next = await at.restart();
      return start(next, { psk: PSK, ...options, ...changed }, admin);
    },
    async [Symbol.asyncDispose]() {
      if (!stack.disposed) {
        await jobs[Symbol.asyncDispose]();
        await stack.disposeAsync();
      }
      await at[Symbol.asyncDispose]();
    },
  };
}

export const BUILD = {
  version: '0.1.0',
  buildDate: 1_775_928_757_000,
  commitHash: 'c6a5ea0',
  dirty: true,
  latestTag: 'v0.0.0',
  taggedVersion: '',
  short: 'v0.1.0-dev+gc6a5ea0',
  full: 'v0.1.0-dev+gc6a5ea0+dirty+d2026.04.11T17.32.37Z+node26.10.0@linux/amd64',
  osArch: 'linux/amd64',
  runtime: 'node26.10.0',
};

async function createRealMedia(
  shared: Omit<Parameters<typeof createMediaAdmin>[0], 'store'>,
  rootPath: string,
): Promise<ReturnType<typeof createMediaAdmin>> {
  return createMediaAdmin({ ...shared, store: await createFileStore({ rootPath, random: secureRandom }) });
}

/** Time that ends: no timer of it fires any more, and none is set. */
function createMortalClock(): Clock & { die(): void } {
  const timers = new Set<Disposable>();
  let isDead = false;
  return {
    ...systemClock,
    after(delay, callback) {
      if (isDead) return { [Symbol.dispose]: () => undefined };
      const timer = systemClock.after(delay, () => {
        timers.delete(timer);
        callback();
      });
      timers.add(timer);
      return timer;
    },
    die() {
      isDead = true;
      for (const timer of timers) timer[Symbol.dispose]();
    },
  };
}

function createTestLogger(lines: string[]): Logger {
  const write = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    const shown = Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? value.stack : value]);
    lines.push(`${message} ${JSON.stringify(Object.fromEntries(shown))}`);
  };
  return { trace: write, debug: write, info: write, warn: write, error: write, child: () => createTestLogger(lines) };
}
