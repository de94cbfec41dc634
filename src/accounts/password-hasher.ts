/**
 * Password hashes: argon2id, computed on libuv's threads, a bounded number at a time, so that a storm of log-ins slows
 * down log-ins only. With a pepper the password is passed through HMAC-SHA256 first; such hashes are marked, so that
 * accounts from before the pepper still log in.
 *
 * Invariant: checking costs the same whether there is a hash or not, so that its time doesn't tell who has an account.
 */
import { createHmac } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { BoundedPool } from './bounded-pool.ts';

export interface PasswordHasher {
  hash(password: string): Promise<string>;
  /** Whether `password` gave `stored`; false, and as slow, where nothing is stored. */
  verify(stored: string | undefined, password: string): Promise<boolean>;
}

export interface PasswordHasherOptions {
  readonly pepper?: string;
  readonly maxWaiting?: number;
}

/** OWASP's recommendation for argon2id: 19 MiB, two passes, one lane. */
const PARAMETERS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
/** Half of libuv's four threads: files and DNS keep the others. */
const MAX_RUNNING = 2;
/** About three seconds of hashing: who would wait longer had better come back. */
const MAX_WAITING = 256;
const RETRY_AFTER_MS = 5_000;
const PEPPERED = 'pepper:';
/** Stands in where there is no hash; what it was made from does not matter. */
const DUMMY = '$argon2id$v=19$m=19456,t=2,p=1$lznTfgZwne/wxyrkZPkhxg$ZoriuSmoZzb1XGgclrfmkmtF8ufMfIBfNPzcPbl3jrE';

export function createPasswordHasher(options: PasswordHasherOptions = {}): PasswordHasher {
  const { pepper, maxWaiting = MAX_WAITING } = options;
  const pool = new BoundedPool({ maxRunning: MAX_RUNNING, maxWaiting, retryAfterMs: RETRY_AFTER_MS });
  const season = (password: string): string =>
    pepper === undefined ? password : createHmac('sha256', pepper).update(password).digest('base64');

  return {
    async hash(password) {
      const made = await pool.run(() => hash(season(password), PARAMETERS));
      return pepper === undefined ? made : PEPPERED + made;
    },
    async verify(stored, password) {
      const isPeppered = stored?.startsWith(PEPPERED) === true;
      const phc = isPeppered ? stored?.slice(PEPPERED.length) : stored;
      const matches = await pool.run(() => verify(phc ?? DUMMY, isPeppered ? season(password) : password));
      return phc !== undefined && matches;
    },
  };
}
