/**
 * Transactions of other servers.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#transactions
 */
import type { Inbound } from '../../federation/inbound.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';

export interface SendEndpointsOptions {
  readonly inbound: Pick<Inbound, 'handle'>;
}

/** 50 PDUs and 100 EDUs of 64 KiB each, with room for white space and what stands around them. */
const MAX_TRANSACTION_BYTES = 12_500_000;

export function sendEndpoints({ inbound }: SendEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/federation/v1/send/{txnId}',
      auth: 'server',
      // Which lists it has, and what they hold, is judged one by one.
      body: AnyObject,
      bodyLimit: MAX_TRANSACTION_BYTES,
      allowNul: true,
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid',
      handle: ({ requester, params, body, oddNumbers }) =>
        inbound.handle({ origin: requester, txnId: params.txnId, body, oddNumbers }),
    }),
  ];
}
