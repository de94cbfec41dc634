/**
 * Log-in by password or by a login token, and exchanging a refresh token.
 */
import { type Static, Type } from 'typebox';
import type { LoginTokens } from '../../accounts/login-tokens.ts';
import { type PasswordLogin, readIdentifiedUser } from '../../accounts/password-login.ts';
import { describeSession, readDeviceId, readDeviceName, type Sessions } from '../../accounts/sessions.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';

export interface LoginOptions {
  readonly login: PasswordLogin;
  readonly loginTokens: LoginTokens;
  readonly sessions: Sessions;
  allowsLoginTokens(): boolean;
  /** What `/.well-known/matrix/client` says, for clients that log in without having asked for it. */
  readonly wellKnown?: JsonObject;
}

const Body = Type.Object({
  type: Type.String(),
  identifier: optional(AnyObject),
  user: optional(Type.String()),
  password: optional(Type.String()),
  token: optional(Type.String()),
  device_id: optional(Type.String()),
  initial_device_display_name: optional(Type.String()),
  refresh_token: optional(Type.Boolean()),
});

type Body = Static<typeof Body>;

export function loginEndpoints(options: LoginOptions): readonly Endpoint[] {
  const { sessions, wellKnown } = options;
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/login',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login',
      handle: () => ({
        flows: [
          { type: 'm.login.password' },
          ...(options.allowsLoginTokens() ? [{ type: 'm.login.token', get_login_token: true }] : []),
        ],
      }),
    }),
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/login',
      auth: 'none',
      rateLimit: 'login',
      body: Body,
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login',
      async handle({ body }) {
        const { userId, session } = await logIn(options, body);
        const found = wellKnown === undefined ? undefined : { well_known: wellKnown };
        return { user_id: userId, ...describeSession(session), ...found };
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/refresh',
      auth: 'none',
      rateLimit: 'login',
      body: Type.Object({ refresh_token: Type.String() }),
      missingKey: 'M_MISSING_PARAM',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh',
      async handle({ body }) {
        const { device_id: _deviceId, ...tokens } = describeSession(await sessions.refresh(body.refresh_token));
        return tokens;
      },
    }),
  ];
}

function logIn({ login, loginTokens, allowsLoginTokens }: LoginOptions, body: Body) {
  const session = {
    deviceId: readDeviceId(body.device_id),
    displayName: readDeviceName(body.initial_device_display_name),
    wantsRefreshToken: body.refresh_token === true,
  };
  const { type, password, token } = body;
  if (type === 'm.login.password') {
    if (typeof password !== 'string') throw new MatrixError('M_MISSING_PARAM', 'The password is missing');
    return login.login({ ...session, user: readIdentifiedUser(body), password });
  }
  if (type === 'm.login.token' && allowsLoginTokens()) {
    if (typeof token !== 'string') throw new MatrixError('M_MISSING_PARAM', 'The token is missing');
    return loginTokens.login(token, session);
  }
  throw new MatrixError('M_UNKNOWN', 'Unknown login type', { status: 400 });
}
