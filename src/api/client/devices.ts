/**
 * A user's own devices: seen, named, and deleted with the password as proof.
 */
import { Type } from 'typebox';
import type { Device, Devices } from '../../accounts/devices.ts';
import type { PasswordLogin } from '../../accounts/password-login.ts';
import { readDeviceName } from '../../accounts/sessions.ts';
import type { Uia } from '../../accounts/uia.ts';
import { answer } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint, type Requester, type Result } from '../../http/endpoint.ts';
import { Auth, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { confirmByPassword } from './confirm.ts';

export interface DevicesOptions {
  readonly devices: Devices;
  readonly login: PasswordLogin;
  readonly uia: Uia;
}

/** Longer lists are no list of one's own devices. */
const MAX_DELETED_AT_ONCE = 1000;

export function devicesEndpoints(options: DevicesOptions): readonly Endpoint[] {
  return [...readingEndpoints(options.devices), ...deletingEndpoints(options)];
}

function readingEndpoints(devices: Devices): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/devices',
      auth: 'user',
      guests: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices',
      handle: async ({ requester }) => ({ devices: (await devices.list(requester)).map(describe) }),
    }),
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/devices/{deviceId}',
      auth: 'user',
      guests: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid',
      async handle({ requester: { accountId }, params: { deviceId } }) {
        const device = await devices.load({ accountId, deviceId });
        if (device === undefined) throw unknownDevice();
        return describe(device);
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/client/v3/devices/{deviceId}',
      auth: 'user',
      guests: true,
      body: Type.Object({ display_name: optional(Type.String()) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid',
      async handle({ requester: { accountId }, params: { deviceId }, body }) {
        const key = { accountId, deviceId };
        const name = readDeviceName(body.display_name);
        const isKnown = name === undefined ? (await devices.load(key)) !== undefined : await devices.rename(key, name);
        if (!isKnown) throw unknownDevice();
        return {};
      },
    }),
  ];
}

function deletingEndpoints({ devices, login, uia }: DevicesOptions): readonly Endpoint[] {
  const remove = async (requester: Requester, operation: string, request: Deletion): Promise<Result> => {
    const outcome = await confirmByPassword({ uia, login }, { requester, operation, body: request.body });
    if (!outcome.done) return answer(401, outcome.challenge);
    await devices.delete(requester, request.deviceIds);
    return {};
  };
  return [
    defineEndpoint({
      method: 'DELETE',
      path: '/_matrix/client/v3/devices/{deviceId}',
      auth: 'user',
      body: Type.Object({ auth: Auth }),
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid',
      handle: ({ requester, params: { deviceId }, body }) =>
        remove(requester, `DELETE /devices/${deviceId}`, { deviceIds: [deviceId], body }),
    }),
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/delete_devices',
      auth: 'user',
      body: Type.Object({ auth: Auth, devices: Type.Array(Type.String(), { maxItems: MAX_DELETED_AT_ONCE }) }),
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices',
      handle: ({ requester, body }) => remove(requester, 'POST /delete_devices', { deviceIds: body.devices, body }),
    }),
  ];
}

interface Deletion {
  readonly deviceIds: readonly string[];
  readonly body: JsonObject;
}

function describe({ deviceId, displayName, lastSeenAt, lastSeenIp }: Device): JsonObject {
  return {
    device_id: deviceId,
    ...(displayName === undefined ? undefined : { display_name: displayName }),
    ...(lastSeenAt === undefined ? undefined : { last_seen_ts: lastSeenAt }),
    ...(lastSeenIp === undefined ? undefined : { last_seen_ip: lastSeenIp }),
  };
}

function unknownDevice(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'There is no such device');
}
