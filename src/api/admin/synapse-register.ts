/**
 * Registration by a shared secret, as scripts made for Synapse do it: a nonce of ours, and an HMAC over it and the new
 * account under the secret. Without a configured secret there are no such endpoints.
 *
 * NOTSPEC: not part of Matrix; tools and test suites rely on it.
 * https://element-hq.github.io/synapse/latest/admin_api/register_api.html
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { Type } from 'typebox';
import type { Profiles } from '../../accounts/profiles.ts';
import type { Registration } from '../../accounts/registration.ts';
import { createSecret } from '../../accounts/tokens.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { optional } from '../../http/schema.ts';
import type { Clock } from '../../lib/clock.ts';
import { Lru } from '../../lib/lru.ts';
import type { Random } from '../../lib/random.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { describeUser } from '../client/register.ts';

export interface SynapseRegisterOptions {
  readonly sharedSecret: string | undefined;
  readonly registration: Registration;
  readonly profiles: Profiles;
  readonly clock: Clock;
  readonly random: Random;
}

const NONCE_LIFETIME_MS = 60_000;
/** Anybody can ask for nonces: the oldest give way. */
const MAX_NONCES = 1_000;
const PATH = '/_synapse/admin/v1/register';
const SPEC = 'https://element-hq.github.io/synapse/latest/admin_api/register_api.html';

const Body = Type.Object({
  nonce: Type.String(),
  username: Type.String(),
  password: Type.String(),
  mac: Type.String(),
  admin: optional(Type.Boolean()),
  displayname: optional(Type.String()),
  user_type: optional(Type.String()),
});

export function synapseRegisterEndpoints(options: SynapseRegisterOptions): readonly Endpoint[] {
  const { sharedSecret, registration, profiles, clock, random } = options;
  if (sharedSecret === undefined) return [];
  const nonces = new Lru<string, number>({ maxCost: MAX_NONCES });
  const spendNonce = (nonce: string): void => {
    const expiresAt = nonces.peek(nonce);
    nonces.delete(nonce);
    if (expiresAt === undefined || expiresAt < clock.monotonic()) {
      throw new MatrixError('M_UNKNOWN', 'unrecognised nonce', { status: 400 });
    }
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: PATH,
      auth: 'none',
      spec: SPEC,
      handle() {
        const nonce = createSecret(random);
        nonces.set(nonce, clock.monotonic() + NONCE_LIFETIME_MS);
        return { nonce };
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: PATH,
      auth: 'none',
      rateLimit: 'registration',
      body: Body,
      spec: SPEC,
      async handle({ body }) {
        const { nonce, username, password, user_type: userType } = body;
        const isAdmin = body.admin === true;
        spendNonce(nonce);
        const parts = [nonce, username, password, isAdmin ? 'admin' : 'notadmin'];
        if (typeof userType === 'string') parts.push(userType);
        if (!isMac(body.mac, sharedSecret, parts)) throw new MatrixError('M_FORBIDDEN', 'HMAC incorrect');
        const localpart = await registration.reserve(username);
        const session = { deviceId: undefined, displayName: undefined, wantsRefreshToken: false };
        const created = await registration.create({ localpart, password, isAdmin, session });
        if (typeof body.displayname === 'string') await profiles.set(created.userId, 'displayname', body.displayname);
        return describeUser(created);
      },
    }),
  ];
}

function isMac(given: string, secret: string, parts: readonly string[]): boolean {
  const expected = createHmac('sha1', secret).update(parts.join('\0')).digest();
  const actual = Buffer.from(given, 'hex');
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}
