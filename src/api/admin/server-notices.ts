/**
 * Sending server notices, under a path of our own and under the one that scripts made for Synapse use.
 *
 * NOTSPEC: not part of Matrix; tools and test suites rely on the second.
 * https://element-hq.github.io/synapse/latest/admin_api/server_notices.html
 */
import { type Static, Type } from 'typebox';
import type { AdminUsers } from '../../accounts/admin-users.ts';
import type { Requester } from '../../http/endpoint.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import type { Random } from '../../lib/random.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { ServerNotices } from '../../rooms/server-notices.ts';
import { type AdminEndpoint, defineAdminEndpoint } from './admin-endpoint.ts';

export interface ServerNoticeOptions {
  readonly notices: Pick<ServerNotices, 'send'>;
  readonly users: AdminUsers;
  readonly random: Random;
}

/** Never again the same by chance. */
const TXN_ID_LENGTH = 24;

const Body = Type.Object({ user_id: Type.String(), content: AnyObject, type: optional(Type.String()) });
const Sent = Type.Object({ event_id: Type.String() });

export function serverNoticeEndpoints({ notices, users, random }: ServerNoticeOptions): readonly AdminEndpoint[] {
  const send = async (body: Static<typeof Body>, txnId: string): Promise<object> => {
    const { userId, account } = await users.find(body.user_id);
    if (account.isDeactivated) throw new MatrixError('M_NOT_FOUND', 'The account is deactivated');
    const type = body.type ?? 'm.room.message';
    return { event_id: await notices.send({ userId, type, content: body.content, txnId }) };
  };
  return [
    defineAdminEndpoint({
      method: 'POST',
      path: ['/_hammerhead/v0/admin/server-notices', '/_synapse/admin/v1/send_server_notice'],
      auth: 'admin',
      body: Body,
      doc: { summary: 'Send Server Notice', answers: { 200: Sent } },
      handle: ({ body }) => send(body, random.alphanumeric(TXN_ID_LENGTH)),
    }),
    defineAdminEndpoint({
      method: 'PUT',
      path: ['/_hammerhead/v0/admin/server-notices/{txn_id}', '/_synapse/admin/v1/send_server_notice/{txn_id}'],
      auth: 'admin',
      body: Body,
      doc: { summary: 'Send Server Notice Once', answers: { 200: Sent } },
      handle: ({ body, params, requester }) => send(body, `${ofRequester(requester)} ${params.txn_id}`),
    }),
  ];
}

/** Transaction ids of one administrator mean nothing to another. */
function ofRequester({ userId, deviceId }: Requester): string {
  return `${userId} ${deviceId}`;
}
