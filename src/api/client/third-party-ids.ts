/**
 * Mail addresses and phone numbers of accounts. This server sends no mail and trusts no identity server: it has none to
 * list, validates none, and says so in the spec's words. Nobody learns from the answers whose address is known here.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
 */
import { type TObject, Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { clientPaths } from './room-requests.ts';

const SPEC = 'https://spec.matrix.org/v1.19/client-server-api/';

/** The spec's grammar for what a client makes up to recognize its session. */
const Secret = Type.String({ pattern: '^[0-9a-zA-Z.=_-]{1,255}$' });
/** The longest mail address has 254 characters; names of servers have a bound of their own. */
const ShortText = Type.String({ maxLength: 512 });
const Medium = Type.Union([Type.Literal('email'), Type.Literal('msisdn')]);

const IDENTITY_SERVER = { id_server: optional(ShortText), id_access_token: optional(Type.String({ maxLength: 1024 })) };
const REQUEST = {
  client_secret: Secret,
  send_attempt: Type.Integer(),
  next_link: optional(Type.String({ maxLength: 2048 })),
  ...IDENTITY_SERVER,
};
const MailRequest = Type.Object({ ...REQUEST, email: ShortText });
const PhoneRequest = Type.Object({
  ...REQUEST,
  country: Type.String({ pattern: '^[A-Z]{2}$' }),
  phone_number: ShortText,
});
const Session = Type.Object({ client_secret: Secret, sid: Secret });
const Binding = Type.Object({
  client_secret: Secret,
  sid: Secret,
  id_server: ShortText,
  id_access_token: Type.String({ maxLength: 1024 }),
});
const Address = Type.Object({ medium: Medium, address: ShortText, id_server: optional(ShortText) });

export function thirdPartyIdEndpoints(): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/account/3pid'),
      auth: 'user',
      spec: `${SPEC}#get_matrixclientv3account3pid`,
      handle: () => ({ threepids: [] }),
    }),
    ...requestEndpoints(),
    ...addingEndpoints(),
    ...removingEndpoints(),
  ];
}

const PURPOSES = [
  ['/register', 'register'],
  ['/account/password', 'accountpassword'],
  ['/account/3pid', 'account3pid'],
] as const;

/** Without a token, since somebody who registers or forgot the password has none. */
function requestEndpoints(): readonly Endpoint[] {
  const endpoint = (place: (typeof PURPOSES)[number], medium: 'email' | 'msisdn', body: TObject): Endpoint =>
    defineEndpoint({
      method: 'POST',
      path: clientPaths(`${place[0]}/${medium}/requestToken`),
      auth: 'none',
      rateLimit: 'registration',
      body,
      missingKey: 'M_MISSING_PARAM',
      spec: `${SPEC}#post_matrixclientv3${place[1]}${medium}requesttoken`,
      handle(): never {
        throw new MatrixError('M_THREEPID_DENIED', 'This server takes no mail addresses and phone numbers');
      },
    });
  return PURPOSES.flatMap((place) => [endpoint(place, 'email', MailRequest), endpoint(place, 'msisdn', PhoneRequest)]);
}

function addingEndpoints(): readonly Endpoint[] {
  const refuse = (): never => {
    throw new MatrixError('M_THREEPID_AUTH_FAILED', 'No address has been validated in this session');
  };
  return [
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/account/3pid'),
      auth: 'user',
      body: Type.Object({ three_pid_creds: AnyObject }),
      missingKey: 'M_MISSING_PARAM',
      spec: `${SPEC}#post_matrixclientv3account3pid`,
      handle: refuse,
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/account/3pid/add'),
      auth: 'user',
      body: Session,
      missingKey: 'M_MISSING_PARAM',
      spec: `${SPEC}#post_matrixclientv3account3pidadd`,
      handle: refuse,
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/account/3pid/bind'),
      auth: 'user',
      body: Binding,
      missingKey: 'M_MISSING_PARAM',
      spec: `${SPEC}#post_matrixclientv3account3pidbind`,
      handle(): never {
        throw new MatrixError('M_SERVER_NOT_TRUSTED', 'This server trusts no identity server');
      },
    }),
  ];
}

function removingEndpoints(): readonly Endpoint[] {
  const endpoint = (action: 'delete' | 'unbind'): Endpoint =>
    defineEndpoint({
      method: 'POST',
      path: clientPaths(`/account/3pid/${action}`),
      auth: 'user',
      body: Address,
      missingKey: 'M_MISSING_PARAM',
      spec: `${SPEC}#post_matrixclientv3account3pid${action}`,
      // It is not there afterwards; and no identity server is known that it was bound at.
      handle: () => ({ id_server_unbind_result: 'no-support' }),
    });
  return [endpoint('delete'), endpoint('unbind')];
}
