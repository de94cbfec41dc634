/**
 * A token by which a user logs in another device. Each one needs the password anew, however fresh the last proof is: that
 * a device is added is to be the user's will.
 */
import { Type } from 'typebox';
import type { LoginTokens } from '../../accounts/login-tokens.ts';
import type { PasswordLogin } from '../../accounts/password-login.ts';
import type { Uia } from '../../accounts/uia.ts';
import { answer } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { Auth } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { confirmByPassword } from './confirm.ts';

export interface LoginTokenOptions {
  readonly loginTokens: LoginTokens;
  readonly login: PasswordLogin;
  readonly uia: Uia;
  allowsLoginTokens(): boolean;
}

export function loginTokenEndpoints(options: LoginTokenOptions): readonly Endpoint[] {
  const { loginTokens, login, uia } = options;
  return [
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v1/login/get_token',
      auth: 'user',
      rateLimit: 'login',
      body: Type.Object({ auth: Auth }),
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token',
      async handle({ requester, body }) {
        if (!options.allowsLoginTokens()) throw new MatrixError('M_UNRECOGNIZED', 'This server gives no login tokens');
        const operation = 'POST /login/get_token';
        const outcome = await confirmByPassword({ uia, login }, { requester, operation, body });
        if (!outcome.done) return answer(401, outcome.challenge);
        const { token, expiresInMs } = await loginTokens.create(requester);
        return { login_token: token, expires_in_ms: expiresInMs };
      },
    }),
  ];
}
