/**
 * What a client can ask before it registers: whether a user name is free, and whether a registration token is good.
 */
import { Type } from 'typebox';
import type { Registration } from '../../accounts/registration.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';

export function registerAvailableEndpoints(options: { readonly registration: Registration }): readonly Endpoint[] {
  const { registration } = options;
  const checkOpen = async (): Promise<void> => {
    if ((await registration.loadMode()) === 'closed') {
      throw new MatrixError('M_FORBIDDEN', 'Registration is disabled on this server');
    }
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/register/available',
      auth: 'none',
      rateLimit: 'registration',
      query: Type.Object({ username: Type.String() }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable',
      async handle({ query }) {
        await checkOpen();
        await registration.reserve(query.username);
        return { available: true };
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v1/register/m.login.registration_token/validity',
      auth: 'none',
      rateLimit: 'registration',
      query: Type.Object({ token: Type.String() }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity',
      async handle({ query }) {
        await checkOpen();
        return { valid: await registration.isTokenValid(query.token) };
      },
    }),
  ];
}
