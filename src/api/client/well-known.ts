/**
 * Where clients and other servers find this one when they only know its name; answered where the configuration says so.
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';

export interface WellKnownOptions {
  readonly client?: JsonObject;
  readonly server?: JsonObject;
}

export function wellKnownEndpoints(options: WellKnownOptions): readonly Endpoint[] {
  const give = (body: JsonObject | undefined): JsonObject => {
    if (body === undefined) throw new MatrixError('M_NOT_FOUND', 'This is not configured here');
    return body;
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: '/.well-known/matrix/client',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient',
      handle: () => give(options.client),
    }),
    defineEndpoint({
      method: 'GET',
      path: '/.well-known/matrix/server',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver',
      handle: () => give(options.server),
    }),
  ];
}
