/**
 * Which software this server is.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#server-implementation
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';

export function federationVersionEndpoints({ version }: { readonly version: string }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/federation/v1/version',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version',
      handle: () => ({ server: { name: 'Hammerhead', version } }),
    }),
  ];
}
