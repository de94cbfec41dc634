/**
 * Sessions: a device with its access token, and a refresh token where the client asked for one. Logging out deletes the
 * device; logging in on a known device makes its former tokens invalid.
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
  revokeReplaced,
  type StoredToken,
} from '../storage/access-tokens.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { type DeviceKey, insertDevice } from '../storage/devices.ts';
import { createAccessToken, createDeviceId, createRefreshToken, hashSecret } from './tokens.ts';

export interface SessionsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  /** Of access tokens that come with a refresh token; others never expire. */
  readonly accessTokenLifetimeMs?: number;
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
const MAX_DEVICE_ID_BYTES = 255;
const MAX_DEVICE_NAME_LENGTH = 100;

export function createSessions(options: SessionsOptions): Sessions {
  const { database, clock, random, accessTokenLifetimeMs = ACCESS_TOKEN_LIFETIME_MS } = options;

  const issue = async (
    tx: Transaction,
    { accountId, deviceId }: DeviceKey,
    kind: { readonly wantsRefreshToken: boolean; readonly replaces: string | undefined },
  ): Promise<Session> => {
    const createdAt = clock.now();
    const accessToken = createAccessToken(random);
    const refreshToken = kind.wantsRefreshToken ? createRefreshToken(random) : undefined;
    const common = { accountId, deviceId, createdAt, replaces: kind.replaces };
    const expiresAt = kind.wantsRefreshToken ? createdAt + accessTokenLifetimeMs : undefined;
    await insertAccessToken(tx, { ...common, tokenHash: hashSecret(accessToken), expiresAt });
    if (refreshToken !== undefined) await insertRefreshToken(tx, { ...common, tokenHash: hashSecret(refreshToken) });
    const expiresInMs = kind.wantsRefreshToken ? accessTokenLifetimeMs : undefined;
    return { deviceId, accessToken, refreshToken, expiresInMs };
  };

  const exchange = async (tx: Transaction, refreshHash: string) => {
    const known = checkRefreshToken(await loadRefreshToken(tx, refreshHash));
    // A retry: the answer to the former exchange was lost. Its tokens are replaced by new ones.
    await deleteUnusedSuccessors(tx, refreshHash);
    if (known.replaces !== undefined) await revokeReplaced(tx, known, known.replaces);
    return { known, session: await issue(tx, known, { wantsRefreshToken: true, replaces: refreshHash }) };
  };

  return {
    async open(tx, session) {
      const { accountId, displayName, wantsRefreshToken } = session;
      const deviceId = session.deviceId ?? createDeviceId(random);
      const isNew = await insertDevice(tx, { accountId, deviceId, displayName, createdAt: clock.now() });
      if (!isNew) await deleteDeviceTokens(tx, { accountId, deviceId });
      return issue(tx, { accountId, deviceId }, { wantsRefreshToken, replaces: undefined });
    },
    async refresh(refreshToken) {
      const { known, session } = await database.transaction((tx) => exchange(tx, hashSecret(refreshToken)));
      if (known.replaces !== undefined) options.forgetTokens(known.accountId, new Set([known.deviceId]));
      return session;
    },
  };
}

function checkRefreshToken(token: StoredToken | undefined): StoredToken {
  if (token === undefined) {
    throw new MatrixError('M_UNKNOWN_TOKEN', 'Unrecognized refresh token', { fields: { soft_logout: false } });
  }
  if (token.isDeactivated) throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated');
  if (token.isLocked)
    throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
  return token;
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
