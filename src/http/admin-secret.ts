/**
 * The pre-shared secret of the admin API: compared in constant time, and guessed at a bounded rate from each address. It
 * is taken from the `Authorization` header only, since query strings end up in the logs of proxies.
 */
import { hash, timingSafeEqual } from 'node:crypto';
import { type AdminSecret, readBearer } from './authenticate.ts';
import { rateLimitKey } from './client-address.ts';
import type { RateLimiter } from './rate-limiter.ts';

/** Undefined where no secret is configured: then none is accepted, the empty one included. */
export function createAdminSecret(options: {
  readonly secret: string | undefined;
  readonly rateLimiter: RateLimiter;
}): AdminSecret | undefined {
  const { secret, rateLimiter } = options;
  if (secret === undefined || secret === '') return undefined;
  // Of equal length whatever was sent, as the comparison wants it.
  const expected = hash('sha256', secret, 'buffer');
  return {
    admits({ authorization, client }) {
      const shown = authorization === undefined ? undefined : readBearer(authorization);
      if (shown === undefined || shown === '') return false;
      const key = `admin secret ${rateLimitKey(client.ip)}`;
      rateLimiter.check('login_failed', key);
      if (timingSafeEqual(hash('sha256', shown, 'buffer'), expected)) return true;
      rateLimiter.take('login_failed', key);
      return false;
    },
  };
}
