/**
 * The pushers that users set: checked, bounded, and gone with the session that set them.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
 */
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import {
  deletePusher,
  deletePushersOfDevices,
  deletePushersOfOthers,
  listPushers,
  listPusherUsers,
  type Pusher,
  type PusherKey,
  upsertPusher,
} from '../storage/pushers.ts';
import { MemberSubset } from './member-subset.ts';

export interface Pushers {
  /** Everybody who has a pusher. */
  readonly users: MemberSubset;
  /** Has to be done before `users` is asked. */
  start(): Promise<void>;
  list(userId: UserId): Promise<readonly Pusher[]>;
  /** `append` leaves the pushers that others have for the same app and key. */
  set(pusher: Omit<Pusher, 'position'>, append: boolean): Promise<void>;
  delete(key: PusherKey): Promise<void>;
  /** The sessions are over. */
  deleteOfDevices(userId: UserId, deviceIds: readonly string[]): Promise<void>;
}

export interface PushersOptions {
  readonly database: Database;
  /** The position up to which everything is committed: what came before a pusher is not pushed. */
  getPosition(): number;
  /** Development and private networks: push gateways without TLS. */
  readonly allowsHttp: boolean;
}

/** Every notification is sent to each of them. */
const MAX_PUSHERS_PER_USER = 50;
const MAX_PUSHKEY_BYTES = 512;
const MAX_APP_ID_LENGTH = 64;
/** It is sent with every notification. */
const MAX_DATA_BYTES = 4_096;
const MAX_URL_LENGTH = 2_048;
const GATEWAY_PATH = '/_matrix/push/v1/notify';

export function createPushers(options: PushersOptions): Pushers {
  const { database } = options;
  const users = new MemberSubset();
  const forgetIfNone = async (userId: UserId): Promise<void> => {
    if ((await listPushers(database, userId)).length === 0) users.delete(userId);
  };
  return {
    users,
    async start() {
      for (const userId of await listPusherUsers(database)) users.add(userId);
    },
    list: (userId) => listPushers(database, userId),
    async set(pusher, append) {
      checkPusher(pusher, options.allowsHttp);
      const known = await listPushers(database, pusher.userId);
      const isNew = !known.some(({ appId, pushkey }) => appId === pusher.appId && pushkey === pusher.pushkey);
      if (isNew && known.length >= MAX_PUSHERS_PER_USER) {
        throw new MatrixError('M_TOO_LARGE', `A user may have ${MAX_PUSHERS_PER_USER} pushers`);
      }
      await database.transaction(async (tx) => {
        if (!append) await deletePushersOfOthers(tx, pusher);
        await upsertPusher(tx, { ...pusher, position: options.getPosition() });
      });
      users.add(pusher.userId);
    },
    async delete(key) {
      await deletePusher(database, key);
      await forgetIfNone(key.userId);
    },
    async deleteOfDevices(userId, deviceIds) {
      if (!users.has(userId)) return;
      await deletePushersOfDevices(database, userId, deviceIds);
      await forgetIfNone(userId);
    },
  };
}

function checkPusher({ appId, pushkey, kind, data }: Omit<Pusher, 'position'>, allowsHttp: boolean): void {
  if (kind !== 'http') throw new MatrixError('M_INVALID_PARAM', 'There is no such kind of pusher here');
  if (pushkey === '' || Buffer.byteLength(pushkey) > MAX_PUSHKEY_BYTES) {
    throw new MatrixError('M_INVALID_PARAM', `A pushkey has 1 to ${MAX_PUSHKEY_BYTES} bytes`);
  }
  if (appId === '' || appId.length > MAX_APP_ID_LENGTH) {
    throw new MatrixError('M_INVALID_PARAM', `An app_id has 1 to ${MAX_APP_ID_LENGTH} characters`);
  }
  if (Buffer.byteLength(JSON.stringify(data)) > MAX_DATA_BYTES) {
    throw new MatrixError('M_TOO_LARGE', `The data of a pusher may take ${MAX_DATA_BYTES} bytes`);
  }
  if (readGatewayUrl(data['url'], allowsHttp) === undefined) {
    throw new MatrixError('M_INVALID_PARAM', `data.url has to be an https URL whose path is ${GATEWAY_PATH}`);
  }
}

/** The gateway's URL, if it is one that may be asked; where its name leads to is judged when it is. */
export function readGatewayUrl(text: unknown, allowsHttp: boolean): URL | undefined {
  if (typeof text !== 'string' || text.length > MAX_URL_LENGTH || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isSecure = url.protocol === 'https:' || (allowsHttp && url.protocol === 'http:');
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  return isSecure && isPlain && url.pathname === GATEWAY_PATH ? url : undefined;
}
