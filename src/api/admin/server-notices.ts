/**
 * Sending server notices, under the path that scripts made for Synapse use.
 *
 * NOTSPEC: not part of Matrix; tools and test suites rely on it.
 * https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
 */
import { type Static, Type } from 'typebox';
import type { AdminUsers } from '../../accounts/admin-users.ts';
import { defineEndpoint, type Endpoint, type Requester } from '../../http/endpoint.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import type { Random } from '../../lib/random.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { ServerNotices } from '../../rooms/server-notices.ts';

export interface ServerNoticeOptions {
  readonly notices: Pick<ServerNotices, 'send'>;
  readonly users: Pick<AdminUsers, 'find'>;
  readonly random: Random;
}

const PATH = '/_synapse/admin/v1/send_server_notice';
const SPEC = 'https://element-hq.github.io/synapse/latest/admin_api/server_notices.html';
/** Never again the same by chance. */
const TXN_ID_LENGTH = 24;

const Body = Type.Object({ user_id: Type.String(), content: AnyObject, type: optional(Type.String()) });

export function serverNoticeEndpoints({ notices, users, random }: ServerNoticeOptions): readonly Endpoint[] {
  const send = async (body: Static<typeof Body>, txnId: string): Promise<object> => {
    const { userId, account } = await users.find(body.user_id);
    if (account.isDeactivated) throw new MatrixError('M_NOT_FOUND', 'The account is deactivated');
    const type = body.type ?? 'm.room.message';
    return { event_id: await notices.send({ userId, type, content: body.content, txnId }) };
  };
  return [
    defineEndpoint({
      method: 'POST',
      path: PATH,
      auth: 'admin',
      body: Body,
      spec: SPEC,
      handle: ({ body }) => send(body, random.alphanumeric(TXN_ID_LENGTH)),
    }),
    defineEndpoint({
      method: 'PUT',
      path: `${PATH}/{txnId}`,
      auth: 'admin',
      body: Body,
      spec: SPEC,
      handle: ({ body, params, requester }) => send(body, `${ofRequester(requester)} ${params.txnId}`),
    }),
  ];
}

/** Transaction ids of one administrator mean nothing to another. */
function ofRequester({ userId, deviceId }: Requester): string {
  return `${userId} ${deviceId}`;
}
