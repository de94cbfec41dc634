/**
 * Sessions: a device with its access token, and a refresh token where the client asked for one. Logging out deletes the
 * device; logging in on a known device makes its former tokens invalid.
 *
 * Of the refresh tokens that descend from one log-in, only the newest is good, and the one before it until the newest is
 * used. An older one in use means that two hold the session, one of whom stole it: all its tokens are revoked.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#relationship-between-access-tokens-and-devices
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import {
  deleteDeviceTokens,
  deleteUnusedSuccessors,
  insertAccessToken,
  insertRefreshToken,
  loadRefreshToken,
  loadTokenFamily,
  revokeReplaced,
} from '../storage/access-tokens.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { type DeviceKey, insertDevice } from '../storage/devices.ts';
import {
  createAccessToken,
  createDeviceId,
  createRefreshToken,
  createTokenFamily,
  hashSecret,
  readTokenFamily,
} from './tokens.ts';
import { checkUsable } from './usable-account.ts';

export interface SessionsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  /** Of access tokens that come with a refresh token; others never expire. */
  accessTokenLifetimeMs?(): number;
  /** Tells the authenticator that tokens of these devices are no longer valid. */
  forgetTokens(accountId: number, deviceIds?: ReadonlySet<string>): void;
}

export interface NewSession {
  readonly accountId: number;
  /** Undefined lets us choose. */
  readonly deviceId: string | undefined;
  readonly displayName: string | undefined;
  readonly wantsRefreshToken: boolean;
}

export interface Session {
  readonly deviceId: string;
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly expiresInMs: number | undefined;
}

export interface Sessions {
  /** In the caller's transaction, who afterwards has to forget the tokens of a device that was known before. */
  open(tx: Transaction, session: NewSession): Promise<Session>;
  /** Exchanges a refresh token for new tokens. */
  refresh(refreshToken: string): Promise<Session>;
}

/** Five minutes, so that a leaked access token is of little use to its finder. */
const ACCESS_TOKEN_LIFETIME_MS = 5 * 60 * 1000;
/** Two requests of one client that cross are no theft: an old token is then refused, and nothing more. */
const REUSE_GRACE_MS = 60_000;
const MAX_DEVICE_ID_BYTES = 255;
const MAX_DEVICE_NAME_LENGTH = 100;

export function createSessions(options: SessionsOptions): Sessions {
  const { database, clock, random, accessTokenLifetimeMs = () => ACCESS_TOKEN_LIFETIME_MS } = options;

  const issue = async (
    tx: Transaction,
    { accountId, deviceId }: DeviceKey,
    kind: { readonly family: string | undefined; readonly replaces: string | undefined },
  ): Promise<Session> => {
    const { family, replaces } = kind;
    const createdAt = clock.now();
    const accessToken = createAccessToken(random);
    const common = { accountId, deviceId, createdAt, replaces };
    if (family === undefined) {
      await insertAccessToken(tx, { ...common, tokenHash: hashSecret(accessToken), expiresAt: undefined });
      return { deviceId, accessToken, refreshToken: undefined, expiresInMs: undefined };
    }
    const refreshToken = createRefreshToken(random, family);
    const expiresInMs = accessTokenLifetimeMs();
    const expiresAt = createdAt + expiresInMs;
    await insertAccessToken(tx, { ...common, tokenHash: hashSecret(accessToken), expiresAt });
    const familyHash = hashSecret(family);
    await insertRefreshToken(tx, { ...common, tokenHash: hashSecret(refreshToken), familyHash });
    return { deviceId, accessToken, refreshToken, expiresInMs };
  };

  const exchange = async (tx: Transaction, refreshToken: string) => {
    const refreshHash = hashSecret(refreshToken);
    const known = await loadRefreshToken(tx, refreshHash);
    if (known === undefined) return undefined;
    checkUsable(known);
    // A retry: the answer to the former exchange was lost. Its tokens are replaced by new ones.
    await deleteUnusedSuccessors(tx, refreshHash);
    if (known.replaces !== undefined) await revokeReplaced(tx, known, known.replaces);
    const family = readTokenFamily(refreshToken) ?? createTokenFamily(random);
    return { known, session: await issue(tx, known, { family, replaces: refreshHash }) };
  };

  /** Revokes what descends from the same log-in as a token that is good no more. Whether there was anything. */
  const revokeFamily = async (refreshToken: string): Promise<boolean> => {
    const family = readTokenFamily(refreshToken);
    const device = family === undefined ? undefined : await loadTokenFamily(database, hashSecret(family));
    if (device === undefined || clock.now() - device.newestAt < REUSE_GRACE_MS) return false;
    await deleteDeviceTokens(database, device);
    options.forgetTokens(device.accountId, new Set([device.deviceId]));
    return true;
  };

  return {
    async open(tx, session) {
      const { accountId, displayName, wantsRefreshToken } = session;
      const deviceId = session.deviceId ?? createDeviceId(random);
      const isNew = await insertDevice(tx, { accountId, deviceId, displayName, createdAt: clock.now() });
      if (!isNew) await deleteDeviceTokens(tx, { accountId, deviceId });
      const family = wantsRefreshToken ? createTokenFamily(random) : undefined;
      return issue(tx, { accountId, deviceId }, { family, replaces: undefined });
    },
    async refresh(refreshToken) {
      const exchanged = await database.transaction((tx) => exchange(tx, refreshToken));
      if (exchanged === undefined) {
        // The device stays where the session was revoked, so that its keys are still there after the next log-in.
        const isRevoked = await revokeFamily(refreshToken);
        throw new MatrixError('M_UNKNOWN_TOKEN', 'Unrecognized refresh token', { fields: { soft_logout: isRevoked } });
      }
      const { known, session } = exchanged;
      if (known.replaces !== undefined) options.forgetTokens(known.accountId, new Set([known.deviceId]));
      return session;
    },
  };
}

/** What clients are told of their session. */
export function describeSession(session: Session): JsonObject {
  const { deviceId, accessToken, refreshToken, expiresInMs } = session;
  return {
    device_id: deviceId,
    access_token: accessToken,
    ...(refreshToken === undefined ? undefined : { refresh_token: refreshToken }),
    ...(expiresInMs === undefined ? undefined : { expires_in_ms: expiresInMs }),
  };
}

/** A device id of the client's choice; undefined where it leaves the choice to us. */
export function readDeviceId(deviceId: string | null | undefined): string | undefined {
  if (deviceId === undefined || deviceId === null || deviceId === '') return undefined;
  if (Buffer.byteLength(deviceId) > MAX_DEVICE_ID_BYTES)
    throw new MatrixError('M_INVALID_PARAM', 'device_id is too long');
  return deviceId;
}

export function readDeviceName(name: string | null | undefined): string | undefined {
  if (name === undefined || name === null) return undefined;
  if ([...name].length <= MAX_DEVICE_NAME_LENGTH) return name;
  throw new MatrixError('M_INVALID_PARAM', 'The display name of the device is too long');
}
