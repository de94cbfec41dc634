/**
 * Rate limits: a token bucket for each family of requests and each user or address. Memory is bounded: when there are
 * too many buckets, the one used longest ago is forgotten, which is the one most likely full again.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
 */
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { MatrixError } from '../protocol/errors.ts';

export const RATE_LIMIT_FAMILIES = [
  'login',
  'login_failed',
  'registration',
  'messages',
  'joins',
  'invites',
  'room_creation',
  'profile',
  'search',
  'key_requests',
  'reports',
  'presence',
] as const;
export type RateLimitFamily = (typeof RATE_LIMIT_FAMILIES)[number];

export interface RateLimit {
  /** How many requests a second are refilled. */
  readonly perSecond: number;
  /** How many may come at once. */
  readonly burst: number;
}

/** Families without a limit are not counted. */
export type RateLimits = Readonly<Partial<Record<RateLimitFamily, RateLimit>>>;

export interface RateLimiter {
  /** Takes `cost` from the bucket, or throws M_LIMIT_EXCEEDED saying when to come back. */
  take(family: RateLimitFamily, key: string, cost?: number): void;
  /** Like take with cost 1, but only looks: for limits that count failures. */
  check(family: RateLimitFamily, key: string): void;
  /** From now on these limits hold; what was spent stays spent. */
  setLimits(limits: RateLimits): void;
}

export interface RateLimiterOptions {
  readonly clock: Clock;
  readonly limits: RateLimits;
  readonly maxBuckets?: number;
}

/** About 10 MB at most; fewer distinct users and addresses than that are active within a refill. */
const MAX_BUCKETS = 50_000;

/** Sums of fractions come out a little off: whoever waited as told must not be told to wait another millisecond. */
const ROUNDING = 1e-6;

interface Bucket {
  tokens: number;
  filledAt: number;
}

export function createRateLimiter(options: RateLimiterOptions): RateLimiter {
  const { clock } = options;
  let { limits } = options;
  const buckets = new Lru<string, Bucket>({ maxCost: options.maxBuckets ?? MAX_BUCKETS });

  const refill = (family: RateLimitFamily, key: string, limit: RateLimit): Bucket => {
    const id = `${family} ${key}`;
    const now = clock.monotonic();
    let bucket = buckets.get(id);
    if (bucket === undefined) {
      bucket = { tokens: limit.burst, filledAt: now };
      buckets.set(id, bucket);
    }
    const elapsed = (now - bucket.filledAt) / 1000;
    bucket.tokens = Math.min(limit.burst, bucket.tokens + elapsed * limit.perSecond);
    bucket.filledAt = now;
    return bucket;
  };
  const spend = (family: RateLimitFamily, key: string, cost: { needed: number; taken: number }): void => {
    const limit = limits[family];
    if (limit === undefined) return;
    const bucket = refill(family, key, limit);
    // What costs more than a whole burst passes with a full bucket, and leaves a debt.
    const needed = Math.min(cost.needed, limit.burst);
    if (bucket.tokens < needed - ROUNDING) throw limitExceeded(((needed - bucket.tokens) / limit.perSecond) * 1000);
    bucket.tokens -= cost.taken;
  };

  return {
    take: (family, key, cost = 1) => spend(family, key, { needed: cost, taken: cost }),
    check: (family, key) => spend(family, key, { needed: 1, taken: 0 }),
    setLimits(changed) {
      limits = changed;
    },
  };
}

/** A family that refills nothing would otherwise ask clients to wait for ever. */
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** The answer for whoever has to wait. */
export function limitExceeded(waitMs: number): MatrixError {
  const retryAfterMs = Math.max(1, Math.ceil(Math.min(waitMs, MAX_RETRY_AFTER_MS) - ROUNDING));
  return new MatrixError('M_LIMIT_EXCEEDED', 'Too many requests', {
    fields: { retry_after_ms: retryAfterMs },
    headers: { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) },
  });
}
