/**
 * A new password, and the end of an account: both only with the password as proof.
 */
import { Type } from 'typebox';
import type { Credentials } from '../../accounts/credentials.ts';
import type { Deactivation } from '../../accounts/deactivation.ts';
import type { PasswordLogin } from '../../accounts/password-login.ts';
import type { Uia } from '../../accounts/uia.ts';
import { answer } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { Auth, optional } from '../../http/schema.ts';
import { confirmByPassword } from './confirm.ts';

export interface PasswordOptions {
  readonly credentials: Credentials;
  readonly login: PasswordLogin;
  readonly uia: Uia;
  readonly deactivation: Pick<Deactivation, 'deactivateOwn'>;
}

export function passwordEndpoints({ credentials, login, uia, deactivation }: PasswordOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/account/password',
      auth: 'user',
      body: Type.Object({ auth: Auth, new_password: Type.String(), logout_devices: optional(Type.Boolean()) }),
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword',
      async handle({ requester, body }) {
        credentials.checkPassword(body.new_password, requester.userId);
        const operation = 'POST /account/password';
        const outcome = await confirmByPassword({ uia, login }, { requester, operation, body });
        if (!outcome.done) return answer(401, outcome.challenge);
        const kept = body.logout_devices === false ? undefined : requester.deviceId;
        await credentials.changePassword(requester, body.new_password, kept);
        return {};
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/account/deactivate',
      auth: 'user',
      body: Type.Object({ auth: Auth, erase: optional(Type.Boolean()), id_server: optional(Type.String()) }),
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate',
      async handle({ requester, body }) {
        const operation = 'POST /account/deactivate';
        const outcome = await confirmByPassword({ uia, login }, { requester, operation, body });
        if (!outcome.done) return answer(401, outcome.challenge);
        await deactivation.deactivateOwn(requester, { erase: body.erase === true });
        // No third-party identifier is ever bound here, so none is left bound.
        return { id_server_unbind_result: 'success' };
      },
    }),
  ];
}
