/**
 * Third-party networks: this server has no bridges, so it knows no protocols and nobody behind them.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#third-party-lookups
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { clientPaths } from './room-requests.ts';

export function thirdPartyLookupEndpoints(): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/thirdparty/protocols'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocols',
      handle: () => ({}),
    }),
    defineEndpoint({
      method: 'GET',
      path: [
        ...clientPaths('/thirdparty/protocol/{protocol}'),
        ...clientPaths('/thirdparty/location/{protocol}'),
        ...clientPaths('/thirdparty/user/{protocol}'),
      ],
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartyprotocolprotocol',
      handle() {
        throw new MatrixError('M_NOT_FOUND', 'The protocol is unknown');
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: [...clientPaths('/thirdparty/location'), ...clientPaths('/thirdparty/user')],
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3thirdpartylocation',
      handle() {
        throw new MatrixError('M_NOT_FOUND', 'Nothing of a third-party network was found');
      },
    }),
  ];
}
