/**
 * Whose OpenID token it is: asked by the service that a user handed it to. The service is no homeserver, so it signs
 * nothing, and it asks servers that talk with no others too.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#openid
 */
import { Type } from 'typebox';
import type { OpenIdTokens } from '../../accounts/openid-tokens.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';

export interface OpenIdUserInfoOptions {
  readonly openIdTokens: Pick<OpenIdTokens, 'findUser'>;
}

export function openIdUserInfoEndpoints({ openIdTokens }: OpenIdUserInfoOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/federation/v1/openid/userinfo',
      auth: 'none',
      query: Type.Object({ access_token: Type.Optional(Type.String()) }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo',
      async handle({ query: { access_token: token } }) {
        if (token === undefined) throw new MatrixError('M_MISSING_TOKEN', 'access_token is missing');
        const userId = await openIdTokens.findUser(token);
        if (userId === undefined) throw new MatrixError('M_UNKNOWN_TOKEN', 'The token is unknown or has expired');
        return { sub: userId };
      },
    }),
  ];
}
