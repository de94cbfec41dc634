/**
 * From an access token to the requester. What a token stands for is cached for a minute, and forgotten at once on logout,
 * locking or deactivation, so that a request normally costs no database access.
 *
 * Invariant: an answer of the database that was asked before a token was forgotten is never cached; requests that wait
 * while their token is forgotten are told.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#client-authentication
 */
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { Endpoint, Requester } from './endpoint.ts';

/** What the database says about a token. */
export interface TokenRecord extends Requester {
  readonly isAdmin: boolean;
  readonly isLocked: boolean;
  /** Unix milliseconds; undefined for tokens that do not expire. */
  readonly expiresAt: number | undefined;
  /** Its first use made the device's other tokens invalid. */
  readonly revokedOthers: boolean;
}

/** A request of a device, for its list of devices: passed on at most once a minute for each token. */
export interface Sighting {
  readonly accountId: number;
  readonly deviceId: string;
  readonly ip: string;
  readonly userAgent: string;
}

/** The pre-shared secret of the admin API. */
export interface AdminSecret {
  /** Whether the request shows the secret. Throws M_LIMIT_EXCEEDED for an address that guessed too often. */
  admits(credentials: Credentials): boolean;
}

export interface AuthenticatorOptions {
  readonly clock: Clock;
  /** Undefined for tokens that nobody has, or whose account is deactivated. */
  loadToken(token: string): Promise<TokenRecord | undefined>;
  onSeen?(sighting: Sighting): void;
  /** For endpoints with auth `admin-or-psk`. */
  readonly adminSecret?: AdminSecret;
  readonly maxCached?: number;
}

/** The parts of a request that say who asks. */
export interface Credentials {
  readonly authorization: string | undefined;
  /** From the query string: deprecated, and still sent. */
  readonly queryToken: string | undefined;
  readonly client: { readonly ip: string; readonly userAgent: string };
}

/** Undefined stands for all devices of the account. */
type ForgetFollower = (accountId: number, deviceIds: ReadonlySet<string> | undefined) => void;

type Demands = Pick<Endpoint, 'auth' | 'guests' | 'allowLocked'>;

interface Cached {
  readonly record: TokenRecord;
  readonly loadedAt: number;
  seenAt: number;
}

/** Some 300 bytes each: 15 MB for 50,000 devices active within a minute. */
const MAX_CACHED_TOKENS = 50_000;
/** How long a change made past us, by SQL or by another node, may go unnoticed. */
const MAX_CACHE_AGE_MS = 60_000;
const SEEN_INTERVAL_MS = 60_000;

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #cache: Lru<string, Cached>;
  /** The cached tokens of each account. */
  readonly #tokens = new Map<number, Set<string>>();
  readonly #followers: ForgetFollower[] = [];
  #forgotten = 0;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#cache = new Lru({
      maxCost: options.maxCached ?? MAX_CACHED_TOKENS,
      onEvict: ({ record }, token) => this.#unlist(record.accountId, token),
    });
  }

  /** Resolves who asks, or throws the error that the endpoint's declaration demands. Synchronous on a cache hit. */
  authenticate(credentials: Credentials, demands: Demands): Requester | undefined | Promise<Requester | undefined> {
    if (demands.auth === 'none') return undefined;
    if (demands.auth === 'admin' || demands.auth === 'admin-or-psk')
      return this.#authenticateAdmin(credentials, demands);
    const token = readToken(credentials);
    if (token === undefined) {
      if (demands.auth === 'optional') return undefined;
      throw new MatrixError('M_MISSING_TOKEN', 'Missing access token');
    }
    const cached = this.#cache.get(token);
    const isFresh = cached !== undefined && this.#options.clock.monotonic() - cached.loadedAt < MAX_CACHE_AGE_MS;
    if (isFresh) return this.#admit(cached, credentials, demands);
    return this.#load(token).then((loaded) => this.#admit(loaded, credentials, demands));
  }

  /** Whatever is wrong with the token, the answer is the same: who is no administrator learns nothing here. */
  async #authenticateAdmin(credentials: Credentials, demands: Demands): Promise<Requester | undefined> {
    try {
      const token = readToken(credentials);
      if (token === undefined) throw notAdmin();
      const loaded = await this.#load(token);
      if (!loaded.record.isAdmin) throw notAdmin();
      return this.#admit(loaded, credentials, demands);
    } catch (cause) {
      if (!(cause instanceof MatrixError)) throw cause;
      if (demands.auth === 'admin-or-psk' && this.#options.adminSecret?.admits(credentials) === true) return undefined;
      throw notAdmin();
    }
  }

  /** The tokens of these devices, or of all devices, stopped being valid or changed their account's flags. */
  forget(accountId: number, deviceIds?: ReadonlySet<string>): void {
    this.#forgotten += 1;
    for (const token of [...(this.#tokens.get(accountId) ?? [])]) {
      const deviceId = this.#cache.peek(token)?.record.deviceId;
      if (deviceIds === undefined || deviceId === undefined || deviceIds.has(deviceId)) this.#drop(accountId, token);
    }
    for (const tell of this.#followers) tell(accountId, deviceIds);
  }

  /** `follower` is told of each call of `forget` from now on. */
  onForgotten(follower: ForgetFollower): void {
    this.#followers.push(follower);
  }

  /** Whatever was changed past us counts from the next request on. */
  forgetAll(): void {
    this.#forgotten += 1;
    this.#cache.clear();
    this.#tokens.clear();
  }

  #keep(token: string, cached: Cached): void {
    const { accountId } = cached.record;
    const listed = this.#tokens.get(accountId);
    if (listed === undefined) this.#tokens.set(accountId, new Set([token]));
    else listed.add(token);
    this.#cache.set(token, cached);
  }

  #drop(accountId: number, token: string): void {
    this.#cache.delete(token);
    this.#unlist(accountId, token);
  }

  #unlist(accountId: number, token: string): void {
    const listed = this.#tokens.get(accountId);
    listed?.delete(token);
    if (listed?.size === 0) this.#tokens.delete(accountId);
  }

  async #load(token: string): Promise<Cached> {
    const before = this.#forgotten;
    const { clock } = this.#options;
    const loadedAt = clock.monotonic();
    const record = await this.#options.loadToken(token);
    const known = this.#cache.peek(token);
    if (record === undefined) {
      if (known !== undefined) this.#drop(known.record.accountId, token);
      throw new MatrixError('M_UNKNOWN_TOKEN', 'Unrecognized access token', { fields: { soft_logout: false } });
    }
    if (record.revokedOthers) this.forget(record.accountId, new Set([record.deviceId]));
    const cached: Cached = { record, loadedAt, seenAt: known?.seenAt ?? Number.NEGATIVE_INFINITY };
    if (before === this.#forgotten) this.#keep(token, cached);
    return cached;
  }

  #admit(cached: Cached, { client }: Credentials, demands: Demands): Requester {
    const { record } = cached;
    const { clock } = this.#options;
    if (record.expiresAt !== undefined && record.expiresAt <= clock.now()) {
      throw new MatrixError('M_UNKNOWN_TOKEN', 'The access token has expired', { fields: { soft_logout: true } });
    }
    if (record.isLocked && !demands.allowLocked) {
      throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
    }
    if (record.isGuest && !demands.guests) {
      throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests cannot do this');
    }
    const now = clock.monotonic();
    if (now - cached.seenAt >= SEEN_INTERVAL_MS) {
      cached.seenAt = now;
      const { accountId, deviceId } = record;
      const { ip, userAgent } = client;
      this.#options.onSeen?.({ accountId, deviceId, ip, userAgent });
    }
    return record;
  }
}

function notAdmin(): MatrixError {
  return new MatrixError('M_FORBIDDEN', 'Only server administrators can do this');
}

/** Longer than any token that we hand out, with room for those of application services. */
const MAX_TOKEN_LENGTH = 1024;

function readToken({ authorization, queryToken }: Credentials): string | undefined {
  const token = authorization === undefined ? queryToken : readBearer(authorization);
  if (token === undefined || token === '') return undefined;
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new MatrixError('M_UNKNOWN_TOKEN', 'Unrecognized access token', { fields: { soft_logout: false } });
  }
  return token;
}

/** The token of an `Authorization` header; undefined for other schemes. */
export function readBearer(authorization: string): string | undefined {
  if (authorization.slice(0, 7).toLowerCase() !== 'bearer ') return undefined;
  return authorization.slice(7).trim();
}
