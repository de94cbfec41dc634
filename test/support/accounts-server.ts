/**
 * The HTTP server with everything about accounts, on a database of its own: what the tests of both talk to. Time is a
 * clock that the test moves; log lines are kept.
 */
import { type Accounts, type AccountsOptions, createAccounts } from '../../src/accounts/accounts.ts';
import {
  createDeactivation,
  createDeactivationKind,
  DEACTIVATE,
  type Deactivation,
} from '../../src/accounts/deactivation.ts';
import { createLastSeen, type LastSeen } from '../../src/accounts/last-seen.ts';
import { createProfiles, type Profiles } from '../../src/accounts/profiles.ts';
import { createTokenLoader } from '../../src/accounts/token-loader.ts';
import { adminServerEndpoints } from '../../src/api/admin/server.ts';
import { synapseRegisterEndpoints } from '../../src/api/admin/synapse-register.ts';
import { authFallbackEndpoints } from '../../src/api/client/auth-fallback.ts';
import { capabilitiesEndpoints } from '../../src/api/client/capabilities.ts';
import { devicesEndpoints } from '../../src/api/client/devices.ts';
import { loginEndpoints } from '../../src/api/client/login.ts';
import { loginTokenEndpoints } from '../../src/api/client/login-token.ts';
import { logoutEndpoints } from '../../src/api/client/logout.ts';
import { openIdEndpoints } from '../../src/api/client/openid.ts';
import { passwordEndpoints } from '../../src/api/client/password.ts';
import { profileEndpoints } from '../../src/api/client/profile.ts';
import { registerEndpoints } from '../../src/api/client/register.ts';
import { registerAvailableEndpoints } from '../../src/api/client/register-available.ts';
import { thirdPartyIdEndpoints } from '../../src/api/client/third-party-ids.ts';
import { versionsEndpoints } from '../../src/api/client/versions.ts';
import { wellKnownEndpoints } from '../../src/api/client/well-known.ts';
import { whoamiEndpoints } from '../../src/api/client/whoami.ts';
import { Authenticator } from '../../src/http/authenticate.ts';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { createRateLimiter, type RateLimit, type RateLimitFamily } from '../../src/http/rate-limiter.ts';
import { createHttpServer, type HttpServer } from '../../src/http/server.ts';
import { createJobs, type JobKind } from '../../src/jobs/job-runner.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import type { Logger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { UserId } from '../../src/protocol/ids.ts';
import type { Database, Transaction } from '../../src/storage/database.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export const SERVER_NAME = 'hs1';

export interface AccountsServerOptions {
  readonly accounts?: Partial<AccountsOptions>;
  readonly endpoints?: readonly Endpoint[];
  readonly limits?: Readonly<Partial<Record<RateLimitFamily, RateLimit>>>;
  readonly trustedProxies?: readonly string[];
  readonly sharedSecret?: string;
  readonly loginTokens?: boolean;
  /** Told of users whose new name or avatar rooms are to be shown. */
  readonly onProfileShown?: (userId: UserId) => void;
}

export interface AccountsServer extends AsyncDisposable {
  readonly url: string;
  readonly accounts: Accounts;
  readonly test: TestDatabase;
  readonly lastSeen: LastSeen;
  readonly http: HttpServer;
  /** Everything that was logged, as text. */
  readonly log: string[];
  readonly clock: { advance(milliseconds: number): void };
  request(method: string, path: string, options?: RequestOptions): Promise<TestAnswer>;
  register(username: string, password?: string): Promise<{ userId: string; token: string; deviceId: string }>;
}

export interface RequestOptions {
  readonly token?: string;
  readonly body?: unknown;
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface TestAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export async function startAccountsServer(options: AccountsServerOptions = {}): Promise<AccountsServer> {
  const test = await createTestDatabase();
  const { database } = test;
  const clock = createTestClock();
  const log: string[] = [];
  const logger = createTestLogger(log);
  const rateLimiter = createRateLimiter({ clock, limits: options.limits ?? {} });
  const lastSeen = createLastSeen({ database, clock, logger });
  const loadToken = createTokenLoader({ database, serverName: SERVER_NAME });
  const authenticator = new Authenticator({ clock, loadToken, onSeen: (sighting) => lastSeen.note(sighting) });
  const accounts = createAccounts({
    database,
    clock,
    random: secureRandom,
    serverName: SERVER_NAME,
    policy: { enabled: true, requiresToken: false },
    passwordRequirements: { minLength: 8, minEntropy: 0 },
    attempts: {
      check: (localpart) => rateLimiter.check('login_failed', localpart),
      failed: (localpart) => rateLimiter.take('login_failed', localpart),
    },
    forgetTokens: (accountId, deviceIds) => authenticator.forget(accountId, deviceIds),
    ...options.accounts,
  });
  const jobs = createJobs({ database, clock, logger, kinds: { [DEACTIVATE]: deactivationKind(database, accounts) } });
  await jobs.start();
  const forgetTokens = (accountId: number): void => authenticator.forget(accountId);
  const deactivation = createDeactivation({ database, jobs, getPosition: () => 0, forgetTokens });
  const propagation = {
    schedule: async (_tx: Transaction, userId: UserId) => options.onProfileShown?.(userId),
    start: () => undefined,
  };
  const profiles = createProfiles({ database, serverName: SERVER_NAME, propagation });
  const http = createHttpServer({
    endpoints: [
      ...accountEndpoints(accounts, {
        clock,
        sharedSecret: options.sharedSecret,
        startedAt: () => http.startedAt,
        deactivation,
        profiles,
        allowsLoginTokens: () => options.loginTokens === true,
      }),
      ...(options.endpoints ?? []),
    ],
    listeners: [{ address: '127.0.0.1', port: 0 }],
    authenticator,
    rateLimiter,
    logger,
    clock,
    random: secureRandom,
    trustedProxies: options.trustedProxies ?? [],
    drainMs: 2_000,
  });
  await http.listen();
  const url = http.addresses()[0] ?? '';
  const request = createRequester(url);
  return {
    url,
    accounts,
    test,
    lastSeen,
    http,
    log,
    clock,
    request,
    async register(username, password = 'correct horse battery') {
      const { status, body } = await request('POST', '/_matrix/client/v3/register', {
        body: { username, password, auth: { type: 'm.login.dummy' } },
      });
      if (status !== 200) throw new Error(`registration failed: ${JSON.stringify(body)}`);
      const text = (key: string): string => String(Reflect.get(Object(body), key));
      return { userId: text('user_id'), token: text('access_token'), deviceId: text('device_id') };
    },
    async [Symbol.asyncDispose]() {
      await http.close();
      await jobs[Symbol.asyncDispose]();
      await lastSeen[Symbol.asyncDispose]();
      await test.drop();
    },
  };
}

function deactivationKind(database: Database, { devices }: Accounts): JobKind {
  return createDeactivationKind({
    database,
    devices,
    redactSome: () => Promise.resolve({ cursor: undefined, redacted: 0, failed: 0 }),
    leaveRoom: () => Promise.resolve(),
    onLeaveFailed: () => undefined,
  });
}

interface Wiring {
  readonly deactivation: Deactivation;
  readonly profiles: Profiles;
  allowsLoginTokens(): boolean;
  readonly clock: Clock;
  readonly sharedSecret: string | undefined;
  startedAt(): number | undefined;
}

function accountEndpoints(accounts: Accounts, wiring: Wiring): readonly Endpoint[] {
  const { clock, sharedSecret, startedAt, deactivation, profiles, allowsLoginTokens } = wiring;
  const login = { ...accounts, allowsLoginTokens };
  const build = {
    buildDate: 0,
    commitHash: 'abcdef0',
    dirty: false,
    version: '0.1.0',
    taggedVersion: '',
    latestTag: 'v0.1.0',
    runtime: 'node26.10.0',
    osArch: 'linux/x64',
    short: 'v0.1.0+gabcdef0',
    full: 'v0.1.0+gabcdef0+node26.10.0@linux/x64',
  };
  return [
    ...versionsEndpoints(),
    ...wellKnownEndpoints({ client: { 'm.homeserver': { base_url: 'https://hs1' } } }),
    ...capabilitiesEndpoints({ defaultRoomVersion: '12', isAdmin: async () => false, allowsLoginTokens }),
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
    ...openIdEndpoints({ ...accounts, serverName: SERVER_NAME }),
    ...profileEndpoints({ profiles }),
    ...adminServerEndpoints({ build, startedAt, isReady: () => Promise.resolve(true) }),
    ...synapseRegisterEndpoints({ ...accounts, profiles, sharedSecret, clock, random: secureRandom }),
  ];
}

export function createRequester(url: string) {
  return async (method: string, path: string, options: RequestOptions = {}): Promise<TestAnswer> => {
    const body = options.raw ?? (options.body === undefined ? null : JSON.stringify(options.body));
    const response = await fetch(url + path, {
      method,
      body,
      headers: {
        ...(options.token === undefined ? undefined : { authorization: `Bearer ${options.token}` }),
        ...(options.body === undefined ? undefined : { 'content-type': 'application/json' }),
        ...options.headers,
      },
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
  };
}

/** Real time plus what the test adds; timers run in real time. */
function createTestClock(): Clock & { advance(milliseconds: number): void } {
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

function createTestLogger(lines: string[]): Logger {
  const write = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    const shown = Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? value.stack : value]);
    lines.push(`${message} ${JSON.stringify(Object.fromEntries(shown))}`);
  };
  return { trace: write, debug: write, info: write, warn: write, error: write, child: () => createTestLogger(lines) };
}
