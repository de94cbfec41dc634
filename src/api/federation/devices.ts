/**
 * Devices of our users and their keys, for servers whose users write to them. Of users of other servers nothing is said,
 * whatever we may know of them. Devices have no keys here yet: nobody can upload any.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#device-management
 * https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
 */
import { Type } from 'typebox';
import type { Devices } from '../../accounts/devices.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { localpartOf, parseUserId, type ServerName, serverNameOf, type UserId } from '../../protocol/ids.ts';

export interface FederationDevicesOptions {
  readonly serverName: ServerName;
  readonly devices: Pick<Devices, 'listOfUser'>;
}

/** Changes when device lists do; other servers compare it with what updates say. */
const STREAM_ID = 0;
/** Of one question. */
const MAX_USERS = 1_000;

export function federationDevicesEndpoints(options: FederationDevicesOptions): readonly Endpoint[] {
  return [devicesEndpoint(options), queryEndpoint(options), claimEndpoint()];
}

function devicesEndpoint({ serverName, ...accounts }: FederationDevicesOptions): Endpoint {
  return defineEndpoint({
    method: 'GET',
    path: '/_matrix/federation/v1/user/devices/{userId}',
    auth: 'server',
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid',
    async handle({ params }) {
      const userId = readOwn(params.userId, serverName);
      if (userId === undefined) throw new MatrixError('M_INVALID_PARAM', 'This is no user of this server');
      const devices = await accounts.devices.listOfUser(localpartOf(userId));
      if (devices === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such user');
      return {
        user_id: userId,
        stream_id: STREAM_ID,
        devices: devices.map(({ deviceId, displayName }) => ({
          device_id: deviceId,
          keys: { user_id: userId, device_id: deviceId, algorithms: [], keys: {}, signatures: {} },
          ...(displayName !== undefined && { device_display_name: displayName }),
        })),
      };
    },
  });
}

function queryEndpoint({ serverName }: FederationDevicesOptions): Endpoint {
  return defineEndpoint({
    method: 'POST',
    path: '/_matrix/federation/v1/user/keys/query',
    auth: 'server',
    body: Type.Object({ device_keys: AnyObject }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery',
    handle({ body }) {
      const asked = Object.keys(body.device_keys).slice(0, MAX_USERS);
      const users = asked.filter((user) => readOwn(user, serverName) !== undefined);
      return { device_keys: Object.fromEntries(users.map((userId) => [userId, {}])) };
    },
  });
}

function claimEndpoint(): Endpoint {
  return defineEndpoint({
    method: 'POST',
    path: '/_matrix/federation/v1/user/keys/claim',
    auth: 'server',
    body: Type.Object({ one_time_keys: AnyObject }),
    spec: 'https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim',
    handle: () => ({ one_time_keys: {} }),
  });
}

function readOwn(text: string, serverName: ServerName): UserId | undefined {
  const userId = parseUserId(text);
  return userId !== undefined && serverNameOf(userId) === serverName ? userId : undefined;
}
