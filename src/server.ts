/**
 * The only composition root: everything is made here, in order, each part given exactly what it uses, and closed in the
 * opposite order: first no more requests, then what waits is committed, last the database.
 */
import { createAccountData } from './accounts/account-data.ts';
import { createAccounts } from './accounts/accounts.ts';
import { createLastSeen } from './accounts/last-seen.ts';
import { createMemberProfileLoader, createProfiles } from './accounts/profiles.ts';
import { createPushRules } from './accounts/push-rules.ts';
import { createRoomSettings } from './accounts/room-settings.ts';
import { createTokenLoader } from './accounts/token-loader.ts';
import { synapseRegisterEndpoints } from './api/admin/synapse-register.ts';
import { createAccountDataEndpoints } from './api/client/account-data.ts';
import { authFallbackEndpoints } from './api/client/auth-fallback.ts';
import { capabilitiesEndpoints } from './api/client/capabilities.ts';
import { devicesEndpoints } from './api/client/devices.ts';
import { createFilterEndpoints } from './api/client/filter.ts';
import { loginEndpoints } from './api/client/login.ts';
import { loginTokenEndpoints } from './api/client/login-token.ts';
import { logoutEndpoints } from './api/client/logout.ts';
import { mediaEndpoints } from './api/client/media.ts';
import { mediaPreviewEndpoints } from './api/client/media-preview.ts';
import { mediaUploadEndpoints } from './api/client/media-upload.ts';
import { openIdEndpoints } from './api/client/openid.ts';
import { passwordEndpoints } from './api/client/password.ts';
import { profileEndpoints } from './api/client/profile.ts';
import { createPushRuleEndpoints } from './api/client/push-rules.ts';
import { createReadMarkerEndpoints } from './api/client/read-markers.ts';
import { createReceiptEndpoints } from './api/client/receipts.ts';
import { registerEndpoints } from './api/client/register.ts';
import { registerAvailableEndpoints } from './api/client/register-available.ts';
import { roomEndpoints } from './api/client/room-endpoints.ts';
import { createSyncEndpoints } from './api/client/sync.ts';
import { createTagEndpoints } from './api/client/tags.ts';
import { thirdPartyIdEndpoints } from './api/client/third-party-ids.ts';
import { createTypingEndpoints } from './api/client/typing.ts';
import { versionsEndpoints } from './api/client/versions.ts';
import { createVoipEndpoints } from './api/client/voip.ts';
import { wellKnownEndpoints } from './api/client/well-known.ts';
import { whoamiEndpoints } from './api/client/whoami.ts';
import { federationEndpoints } from './api/federation/federation-api.ts';
import { openIdUserInfoEndpoints } from './api/federation/openid.ts';
import { type Config, loadConfig } from './config/load.ts';
import { createRoomEngine } from './engine/room-engine.ts';
import { createVisibility } from './engine/visible-events.ts';
import { createReceipts } from './ephemeral/receipts.ts';
import { createTyping } from './ephemeral/typing.ts';
import { createAdminSecret } from './http/admin-secret.ts';
import { Authenticator } from './http/authenticate.ts';
import type { Endpoint } from './http/endpoint.ts';
import { createRateLimiter } from './http/rate-limiter.ts';
import { createHttpServer } from './http/server.ts';
import { loadBuildInfo } from './lib/build-info.ts';
import { systemClock } from './lib/clock.ts';
import { forEachLimited } from './lib/limited-concurrency.ts';
import type { Logger } from './lib/logger.ts';
import { createMetrics, DURATION_BUCKETS, listenForMetrics } from './lib/metrics.ts';
import { secureRandom } from './lib/random.ts';
import { createRemoteFiles } from './media/fetch-remote-file.ts';
import { createMedia } from './media/media.ts';
import { localpartOf, parseServerName, type UserId } from './protocol/ids.ts';
import { DEFAULT_ROOM_VERSION, getRoomVersion } from './protocol/room-version.ts';
import { withMovedRoom } from './rooms/direct-rooms.ts';
import { createRooms } from './rooms/rooms.ts';
import { createSearchIndex } from './rooms/search-index.ts';
import { NOTICES_LOCALPART } from './rooms/server-notices.ts';
import { createAdministration } from './server-admin.ts';
import { claimIdentity, createCommitter, measureDatabase, openConfigured, WRITER_ID } from './server-data.ts';
import { createFederation, createFederationRooms, createFederationTraffic } from './server-federation.ts';
import {
  federationSettings,
  type Live,
  loginWellKnown,
  mediaSettings,
  passwordRequirements,
  proxySettings,
  rateLimits,
  readListener,
  registrationPolicy,
  secretOption,
  wellKnown,
} from './server-options.ts';
import { createPush } from './server-push.ts';
import { loadAccountByLocalpart } from './storage/accounts.ts';
import { loadWriterPosition } from './storage/rooms.ts';
import { createHub } from './streams/hub.ts';
import { createIgnoredUsers } from './sync/ignored-users.ts';
import { createSync } from './sync/sync.ts';

export interface ServerOptions {
  readonly config: Config;
  readonly configPath: string;
  readonly logger: Logger;
}

export interface RunningServer {
  /** URLs and unix sockets, as the server is reached from this machine. */
  readonly addresses: readonly string[];
  /** Everything that the server answers, as declared. */
  readonly endpoints: readonly Endpoint[];
  /** Until the first account exists. */
  readonly registrationToken?: string | undefined;
  /** Takes over the keys that can change without a restart. */
  reload(config: Config): void;
  stop(): Promise<void>;
}

/** Rooms kept in memory, by estimate: some 3,000 rooms of 50 members. */
const MAX_ROOM_BYTES = 96 * 1024 * 1024;
/** Users whose settings are copied at the same time when a room is upgraded. */
const COPYING_USERS = 8;

export async function startServer({ config, configPath, logger }: ServerOptions): Promise<RunningServer> {
  await using stack = new AsyncDisposableStack();
  const live: Live = { config };
  const clock = systemClock;
  const random = secureRandom;
  const metrics = createMetrics();
  const opened = stack.use(await openConfigured(config, logger));
  const { database } = opened;
  const serverName = parseServerName(config.serverName);
  if (serverName === undefined) throw new Error('the configuration was checked');
  const signingKey = await claimIdentity(config, opened);
  const hub = createHub({ onFollowerError: (cause) => logger.error({ cause }, 'a follower of the streams failed') });
  const committer = stack.use(await createCommitter({ opened, hub, metrics }));
  const engine = stack.use(
    createRoomEngine({
      database,
      committer,
      hub,
      clock,
      random,
      serverName,
      signingKey,
      maxRoomBytes: MAX_ROOM_BYTES,
    }),
  );
  const build = await loadBuildInfo();
  const federation = stack.use(
    await createFederation({
      settings: await federationSettings(config),
      database,
      clock,
      logger: logger.child({ module: 'federation' }),
      serverName,
      signingKey,
      userAgent: build.short,
    }),
  );
  const shared = { config, database, hub, committer, engine, clock, logger, serverName };
  const push = stack.use(await createPush({ ...shared, userAgent: build.short, proxy: proxySettings(config) }));
  const typing = stack.use(createTyping({ clock, boot: random.alphanumeric(8) }));
  const traffic = stack.use(
    await createFederationTraffic({ ...federation, ...push, typing, engine, hub, committer, random, metrics }),
  );
  const receipts = createReceipts({ database, committer, rooms: engine, clock });
  const federationRooms = stack.use(
    createFederationRooms({
      ...federation,
      ...push,
      engine,
      hub,
      committer,
      writerId: WRITER_ID,
      typing,
      receipts,
      random,
    }),
  );
  const visibility = createVisibility({ engine, database });
  const accountData = createAccountData({ database, committer });
  const pushRules = createPushRules({ accountData });
  const roomSettings = createRoomSettings({ accountData, pushRules });
  const defaultVersion = getRoomVersion(config.rooms.defaultVersion) ?? DEFAULT_ROOM_VERSION;
  const searchIndex = stack.use(
    createSearchIndex({ database, hub, committer, clock, logger: logger.child({ module: 'search' }) }),
  );
  const isReserved = (localpart: string): boolean => localpart === NOTICES_LOCALPART;
  const isAdmin = async (userId: UserId): Promise<boolean> =>
    (await loadAccountByLocalpart(database, localpartOf(userId)))?.isAdmin === true;
  const loadProfile = createMemberProfileLoader(database);
  const rooms = createRooms({
    engine: federationRooms.engine,
    database,
    clock,
    serverName,
    writerId: WRITER_ID,
    defaultVersion,
    loadProfile,
    isAdmin,
    remoteDirectory: federation.directory,
    ...federationRooms.reading,
    remoteJoins: federationRooms.remoteJoins,
    elsewhere: federationRooms.elsewhere.memberships,
    copyPersonalSettings: ({ userIds, ...move }) =>
      forEachLimited(userIds, COPYING_USERS, async (userId) => {
        await roomSettings.copy(userId, move);
        const direct = { userId, roomId: undefined, type: 'm.direct' };
        await accountData.update(direct, (content) => withMovedRoom(content, move));
      }),
    searchIndex,
    ignoredUsers: stack.use(createIgnoredUsers({ database, hub })),
    hub,
  });
  const sync = stack.use(createSync({ ...push, database, engine, visibility, typing, hub, committer, clock, logger }));
  measureDatabase(metrics, opened);
  metrics.gauge({ name: 'sync_waiting', help: 'Clients that wait in a long poll', read: () => sync.waiting });
  const rateLimiter = createRateLimiter({ clock, limits: rateLimits(config) });
  const adminSecret = createAdminSecret({ secret: config.registration.adminPreSharedSecret?.reveal(), rateLimiter });
  const lastSeen = stack.use(createLastSeen({ database, clock, logger: logger.child({ module: 'accounts' }) }));
  const authenticator = new Authenticator({
    clock,
    loadToken: createTokenLoader({ database, serverName }),
    onSeen: (sighting) => lastSeen.note(sighting),
    ...(adminSecret === undefined ? {} : { adminSecret }),
  });
  const accounts = createAccounts({
    database,
    clock,
    random,
    serverName,
    policy: registrationPolicy(live),
    passwordRequirements: passwordRequirements(live),
    ...secretOption('pepper', config.registration.peppering.pepper),
    attempts: {
      check: (localpart) => rateLimiter.check('login_failed', localpart),
      failed: (localpart) => rateLimiter.take('login_failed', localpart),
    },
    forgetTokens: (accountId, deviceIds) => authenticator.forget(accountId, deviceIds),
    accessTokenLifetimeMs: () => live.config.sessions.accessTokenLifetime,
    isReserved,
    onDevicesDeleted: (userId, deviceIds) => push.pushers.deleteOfDevices(userId, deviceIds),
  });
  const media = stack.use(
    await createMedia({
      ...mediaSettings(live, build.short),
      database,
      clock,
      random,
      logger: logger.child({ module: 'media' }),
      serverName,
      ...(federation.isEnabled && { fetchRemoteFile: createRemoteFiles(federation) }),
    }),
  );
  const requests = metrics.histogram({
    name: 'http_request_seconds',
    help: 'Requests by method, declared path and status',
    labels: ['method', 'route', 'status'],
    buckets: DURATION_BUCKETS,
  });
  const reload = (changed: Config): void => {
    live.config = changed;
    rateLimiter.setLimits(rateLimits(changed));
  };
  const administration = stack.use(
    await createAdministration({
      build,
      startedAt: () => http.startedAt,
      isReady: async () => {
        await loadWriterPosition(database, WRITER_ID);
        return true;
      },
      async reloadConfig() {
        const changed = loadConfig(configPath);
        reload(changed);
        authenticator.forgetAll();
        return changed;
      },
      media: media.admin,
      federation: traffic.admin,
      database,
      clock,
      random,
      logger: logger.child({ module: 'administration' }),
      serverName,
      signingKey,
      engine: federationRooms.engine,
      hub,
      committer,
      rooms,
      accounts,
      accountData,
      forgetTokens: (accountId) => authenticator.forget(accountId),
      loadProfile,
      onRoomForcedOut: sync.forgetRecent,
      settleSending: () => traffic.sender.settle(),
      laterLeaves: federationRooms.elsewhere.laterLeaves,
      isReserved,
    }),
  );
  const { deactivation, profilePropagation: propagation } = administration;
  const profiles = createProfiles({ database, serverName, propagation });
  const allowsLoginTokens = (): boolean => live.config.sessions.loginTokens;
  const login = { ...accounts, allowsLoginTokens, ...loginWellKnown(config) };
  const endpoints: readonly Endpoint[] = [
    ...versionsEndpoints(),
    ...wellKnownEndpoints(wellKnown(config)),
    ...capabilitiesEndpoints({ defaultRoomVersion: defaultVersion.id, isAdmin, allowsLoginTokens }),
    ...registerEndpoints(accounts),
    ...registerAvailableEndpoints(accounts),
    ...authFallbackEndpoints(accounts),
    ...loginEndpoints(login),
    ...loginTokenEndpoints(login),
    ...logoutEndpoints(accounts),
    ...whoamiEndpoints(),
    ...devicesEndpoints(accounts),
    ...passwordEndpoints({ ...accounts, deactivation }),
    ...thirdPartyIdEndpoints(),
    ...openIdEndpoints({ ...accounts, serverName }),
    ...openIdUserInfoEndpoints(accounts),
    ...profileEndpoints({ profiles, fetchRemoteProfile: federation.fetchRemoteProfile }),
    ...roomEndpoints(administration.clientRooms),
    ...createSyncEndpoints({ sync }),
    ...createFilterEndpoints(sync),
    ...createTypingEndpoints({ typing, rooms: engine }),
    ...createReceiptEndpoints({ receipts }),
    ...createReadMarkerEndpoints({ receipts }),
    ...createAccountDataEndpoints({ accountData, pushRules }),
    ...createTagEndpoints({ accountData }),
    ...createPushRuleEndpoints({ pushRules }),
    ...push.endpoints,
    ...createVoipEndpoints(),
    ...synapseRegisterEndpoints({
      ...accounts,
      profiles,
      sharedSecret: config.registration.sharedSecret?.reveal(),
      clock,
      random,
    }),
    ...administration.endpoints,
    ...(federation.isEnabled
      ? federationEndpoints({
          ...federation,
          ...federationRooms,
          ...rooms,
          ...media,
          ...accounts,
          profiles,
          random,
          version: build.version,
        })
      : []),
    ...mediaEndpoints(media),
    ...mediaUploadEndpoints(media),
    ...mediaPreviewEndpoints(media),
  ];
  const http = createHttpServer({
    endpoints,
    listeners: await Promise.all(config.listeners.map(readListener)),
    authenticator,
    serverAuthenticator: traffic.requestAuth,
    rateLimiter,
    logger: logger.child({ module: 'http' }),
    clock,
    random,
    trustedProxies: config.trustedProxies,
    onRequest: ({ method, route = 'none', status, took }) => requests.observe({ method, route, status }, took / 1000),
  });
  if (config.metrics.enabled) stack.use(await listenForMetrics(metrics, config.metrics));
  await http.listen();
  await federationRooms.inbound.start();
  await federationRooms.completion.start();
  media.cleaner.start();
  stack.defer(() => http.close());
  const registrationToken = await accounts.registration.createBootstrapToken();
  const resources = stack.move();
  return {
    addresses: http.addresses(),
    endpoints,
    registrationToken,
    reload,
    stop: () => resources.disposeAsync(),
  };
}
