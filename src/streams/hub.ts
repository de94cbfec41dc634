/**
 * Tells whoever waits that something was committed. It holds no facts and decides nothing: followers keep their own
 * positions, and a wake-up that is lost costs a delay and never a fact.
 */
import type { CommittedBatch } from './batch.ts';

export type Follower = (batch: CommittedBatch) => void;

export interface Hub {
  /** Called synchronously after each COMMIT, in order; it must not throw and not take long. */
  follow(follower: Follower): Disposable;
  publish(batch: CommittedBatch): void;
}

export interface HubOptions {
  readonly onFollowerError: (cause: unknown) => void;
}

export function createHub(options: HubOptions): Hub {
  const followers = new Set<Follower>();
  return {
    follow(follower) {
      followers.add(follower);
      return { [Symbol.dispose]: () => followers.delete(follower) };
    },
    publish(batch) {
      for (const follower of followers) {
        try {
          follower(batch);
        } catch (cause) {
          // One broken follower must neither hide the batch from the others nor fail a write that is committed.
          options.onFollowerError(cause);
        }
      }
    },
  };
}
