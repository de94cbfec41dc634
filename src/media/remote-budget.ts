/**
 * How much media of other servers one user, or one address without a token, makes this server fetch: bytes that refill with
 * time. A file is paid for when its size is known, so the last one may overdraw; until that is made up for, nothing more
 * is fetched. What is here already costs nothing.
 */
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { MatrixError } from '../protocol/errors.ts';

export interface RemoteBudgetLimits {
  /** Bytes that may be fetched at once; 0 for any number. */
  readonly burst: number;
  /** Bytes that are refilled each second. */
  readonly perSecond: number;
}

export interface RemoteBudget {
  /** Throws M_LIMIT_EXCEEDED, saying when to come back, where nothing is left. */
  check(key: string): void;
  spend(key: string, bytes: number): void;
}

interface Account {
  bytes: number;
  filledAt: number;
}

/** About 2 MB at most; who is forgotten was idle the longest. */
const MAX_ACCOUNTS = 20_000;

export function createRemoteBudget(clock: Clock, limits: () => RemoteBudgetLimits): RemoteBudget {
  const accounts = new Lru<string, Account>({ maxCost: MAX_ACCOUNTS });
  const refill = (key: string): Account => {
    const { burst, perSecond } = limits();
    const now = clock.monotonic();
    const account = accounts.get(key) ?? { bytes: burst, filledAt: now };
    account.bytes = Math.min(burst, account.bytes + ((now - account.filledAt) / 1000) * perSecond);
    account.filledAt = now;
    accounts.set(key, account);
    return account;
  };
  return {
    check(key) {
      const { burst, perSecond } = limits();
      if (burst === 0) return;
      const { bytes } = refill(key);
      if (bytes > 0) return;
      const retryAfterMs = Math.ceil(((1 - bytes) / Math.max(perSecond, 1)) * 1000);
      throw new MatrixError('M_LIMIT_EXCEEDED', 'You have fetched too much media of other servers', {
        fields: { retry_after_ms: retryAfterMs },
        headers: { 'retry-after': String(Math.ceil(retryAfterMs / 1000)) },
      });
    },
    spend(key, bytes) {
      if (limits().burst > 0) refill(key).bytes -= bytes;
    },
  };
}
