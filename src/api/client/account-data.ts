/**
 * Account data: set, read and, as MSC3391 adds to the spec, deleted.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#client-config
 */
import { type AccountData, checkClientMayWrite, PUSH_RULES_TYPE } from '../../accounts/account-data.ts';
import type { PushRules } from '../../accounts/push-rules.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { checkOwnUser } from './own-user.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

export interface AccountDataEndpointsOptions {
  readonly accountData: Pick<AccountData, 'load' | 'set' | 'remove'>;
  readonly pushRules: Pick<PushRules, 'load'>;
}

export function createAccountDataEndpoints(options: AccountDataEndpointsOptions): readonly Endpoint[] {
  return [...globalEndpoints(options), ...roomEndpoints(options), ...deletingEndpoints(options)];
}

const GLOBAL = clientPaths('/user/{userId}/account_data/{type}');
const ROOM = clientPaths('/user/{userId}/rooms/{roomId}/account_data/{type}');

function globalEndpoints({ accountData, pushRules }: AccountDataEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: GLOBAL,
      auth: 'user',
      body: AnyObject,
      // Stored as text, so that no string in it has to be refused.
      allowNul: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype',
      async handle({ requester, params, body }) {
        const userId = checkOwnUser(requester, params.userId);
        checkClientMayWrite(params.type);
        await accountData.set({ userId, roomId: undefined, type: params.type }, body);
        return {};
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: GLOBAL,
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype',
      async handle({ requester, params }) {
        const userId = checkOwnUser(requester, params.userId);
        // Everyone has push rules, changed or not.
        if (params.type === PUSH_RULES_TYPE) return { global: await pushRules.load(userId) };
        const content = await accountData.load({ userId, roomId: undefined, type: params.type });
        if (content === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such account data');
        return content;
      },
    }),
  ];
}

function roomEndpoints({ accountData }: AccountDataEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: ROOM,
      auth: 'user',
      body: AnyObject,
      allowNul: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype',
      async handle({ requester, params, body }) {
        const userId = checkOwnUser(requester, params.userId);
        const roomId = readRoomId(params.roomId);
        checkClientMayWrite(params.type);
        await accountData.set({ userId, roomId, type: params.type }, body);
        return {};
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: ROOM,
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype',
      async handle({ requester, params }) {
        const userId = checkOwnUser(requester, params.userId);
        const content = await accountData.load({ userId, roomId: readRoomId(params.roomId), type: params.type });
        if (content === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such room account data');
        return content;
      },
    }),
  ];
}

const MSC3391 = '/_matrix/client/unstable/org.matrix.msc3391';

/** MSC3391: deleting as an operation of its own; an empty object that is put does the same. */
function deletingEndpoints({ accountData }: AccountDataEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'DELETE',
      path: [...GLOBAL, `${MSC3391}/user/{userId}/account_data/{type}`],
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#client-config',
      async handle({ requester, params }) {
        const userId = checkOwnUser(requester, params.userId);
        checkClientMayWrite(params.type);
        await accountData.remove({ userId, roomId: undefined, type: params.type });
        return {};
      },
    }),
    defineEndpoint({
      method: 'DELETE',
      path: [...ROOM, `${MSC3391}/user/{userId}/rooms/{roomId}/account_data/{type}`],
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#client-config',
      async handle({ requester, params }) {
        const userId = checkOwnUser(requester, params.userId);
        const roomId = readRoomId(params.roomId);
        checkClientMayWrite(params.type);
        await accountData.remove({ userId, roomId, type: params.type });
        return {};
      },
    }),
  ];
}
