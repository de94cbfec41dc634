/**
 * Logging out: the device goes, and its tokens with it. Locked accounts may do so too.
 */
import type { Devices } from '../../accounts/devices.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';

export function logoutEndpoints({ devices }: { readonly devices: Devices }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/logout',
      auth: 'user',
      allowLocked: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout',
      async handle({ requester }) {
        await devices.delete(requester, [requester.deviceId]);
        return {};
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/logout/all',
      auth: 'user',
      allowLocked: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall',
      async handle({ requester }) {
        await devices.deleteAll(requester);
        return {};
      },
    }),
  ];
}
