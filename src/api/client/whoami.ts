/**
 * Whose token this is.
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';

export function whoamiEndpoints(): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/account/whoami',
      auth: 'user',
      guests: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami',
      handle: ({ requester }) => ({
        user_id: requester.userId,
        device_id: requester.deviceId,
        is_guest: requester.isGuest,
      }),
    }),
  ];
}
