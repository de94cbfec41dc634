/**
 * TURN servers for calls: none is configured, which clients are told by an empty answer.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#voice-over-ip
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { clientPaths } from './room-requests.ts';

export function createVoipEndpoints(): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/voip/turnServer'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver',
      handle: () => ({}),
    }),
  ];
}
