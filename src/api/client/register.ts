/**
 * Registration. The user name and password are judged before the client has to prove anything; the account is made only
 * when everything is proved.
 */
import { type Static, Type } from 'typebox';
import type { Guest, NewUserResult, Registration, RegistrationMode } from '../../accounts/registration.ts';
import { describeSession, readDeviceId, readDeviceName } from '../../accounts/sessions.ts';
import type { Stage, Uia } from '../../accounts/uia.ts';
import { answer } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint, type Result } from '../../http/endpoint.ts';
import { Auth, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';

export interface RegisterOptions {
  readonly registration: Registration;
  readonly uia: Uia;
}

const Body = Type.Object({
  auth: Auth,
  username: optional(Type.String()),
  password: optional(Type.String()),
  device_id: optional(Type.String()),
  initial_device_display_name: optional(Type.String()),
  inhibit_login: optional(Type.Boolean()),
  refresh_token: optional(Type.Boolean()),
  // Described in the module on guests: whose account this registration makes an ordinary one.
  guest_access_token: optional(Type.String()),
});
type Body = Static<typeof Body>;

const FLOWS: Readonly<Record<Exclude<RegistrationMode, 'closed'>, readonly (readonly string[])[]>> = {
  open: [['m.login.dummy']],
  token: [['m.login.registration_token']],
};
/** Nothing to prove. */
const DUMMY: Stage = {};

export function registerEndpoints({ registration, uia }: RegisterOptions): readonly Endpoint[] {
  const registerGuest = async (body: Body): Promise<Result> => {
    if (!registration.allowsGuests) {
      throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'This server has no guest accounts');
    }
    // Of a guest's request, only the device's name counts.
    const displayName = readDeviceName(body.initial_device_display_name);
    const session = { deviceId: undefined, displayName, wantsRefreshToken: false };
    return describeUser(
      await registration.create({ localpart: undefined, password: undefined, isGuest: true, session }),
    );
  };
  const registerUser = async (body: Body): Promise<Result> => {
    const mode = await registration.loadMode();
    if (mode === 'closed') throw new MatrixError('M_FORBIDDEN', 'Registration is disabled on this server');
    const session = readSession(body);
    const { username, auth } = body;
    const password = body.password ?? undefined;
    const guest = isGiven(body.guest_access_token) ? await registration.findGuest(body.guest_access_token) : undefined;
    if (guest !== undefined) checkGuestName(guest, username);
    const localpart =
      isGiven(username) && guest === undefined ? await registration.reserve(username) : guest?.localpart;
    if (password !== undefined) registration.checkPassword(password, localpart === undefined ? [] : [localpart]);
    else if (isGiven(auth)) throw new MatrixError('M_MISSING_PARAM', 'The password is missing');
    const stages = { 'm.login.dummy': DUMMY, 'm.login.registration_token': registration.tokenStage };
    const outcome = await uia.authorize({
      operation: 'POST /register',
      owner: undefined,
      body,
      flows: FLOWS[mode],
      stages,
    });
    if (!outcome.done) return answer(401, outcome.challenge);
    const { registrationToken } = outcome;
    return describeUser(await registration.create({ localpart, password, guest, registrationToken, session }));
  };
  return [
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/client/v3/register',
      auth: 'none',
      rateLimit: 'registration',
      query: Type.Object({ kind: Type.Optional(Type.Union([Type.Literal('user'), Type.Literal('guest')])) }),
      body: Body,
      emptyBody: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register',
      handle: ({ query, body }) => (query.kind === 'guest' ? registerGuest(body) : registerUser(body)),
    }),
  ];
}

function readSession(body: Body) {
  const deviceId = readDeviceId(body.device_id);
  const displayName = readDeviceName(body.initial_device_display_name);
  if (body.inhibit_login === true) return undefined;
  return { deviceId, displayName, wantsRefreshToken: body.refresh_token === true };
}

function checkGuestName(guest: Guest, username: string | null | undefined): void {
  if (!isGiven(username)) throw new MatrixError('M_MISSING_PARAM', 'The user name has to be that of the guest');
  if (username !== guest.localpart) throw new MatrixError('M_INVALID_PARAM', 'The user name is not that of the guest');
}

/** The answer to a registration. */
export function describeUser({ userId, session }: NewUserResult): object {
  return { user_id: userId, ...(session === undefined ? undefined : describeSession(session)) };
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== undefined && value !== null;
}
