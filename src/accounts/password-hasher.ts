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

/**
 * One of OWASP's recommendations for argon2id, which all resist alike: 12 MiB, three passes, one lane. Of them it takes
 * a third less time than 19 MiB with two passes, since more of it stays in the processor's caches.
 */
const PARAMETERS = { memoryCost: 12_288, timeCost: 3, parallelism: 1 };
/** Half of libuv's four threads: files and DNS keep the others. */
const MAX_RUNNING = 2;
/** About three seconds of hashing: who would wait longer had better come back. */
const MAX_WAITING = 256;
const RETRY_AFTER_MS = 5_000;
const PEPPERED = 'pepper:';
/** Stands in where there is no hash; what it was made from does not matter. */
const DUMMY = '$argon2id$v=19$m=12288,t=3,p=1$/bK7ELC/+IsTWDxnBSsNJw$fvHn+dYKmkOxChlvX/h/PV/RjTvJVgfBUjwpp3ZveKM';

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
      const seasoned = isPeppered ? season(password) : password;
      // What is stored may come from elsewhere, or be cut off: no password gives it, and finding that out is as slow.
      const matches = await pool.run(() =>
        verify(phc ?? DUMMY, seasoned).catch(() => verify(DUMMY, seasoned).then(no)),
      );
      return phc !== undefined && matches;
    },
  };
}

const no = (): boolean => false;
