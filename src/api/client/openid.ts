/**
 * Tokens by which a user proves to a service who they are.
 */
import type { OpenIdTokens } from '../../accounts/openid-tokens.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { checkOwnUser } from './own-user.ts';
import { clientPaths } from './room-requests.ts';

export interface OpenIdOptions {
  readonly openIdTokens: OpenIdTokens;
  readonly serverName: string;
}

export function openIdEndpoints({ openIdTokens, serverName }: OpenIdOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/user/{userId}/openid/request_token'),
      auth: 'user',
      rateLimit: 'login',
      body: AnyObject,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token',
      async handle({ requester, params }) {
        checkOwnUser(requester, params.userId);
        const { token, expiresInSeconds } = await openIdTokens.create(requester);
        return {
          access_token: token,
          token_type: 'Bearer',
          matrix_server_name: serverName,
          expires_in: expiresInSeconds,
        };
      },
    }),
  ];
}
