/**
 * How long a server that does not take what it is sent is left alone, and which refusals are about the content and not
 * about the moment.
 */
import type { Random } from '../lib/random.ts';
import type { FederationError } from './federation-error.ts';

/** A restart of a server takes some seconds. */
const FIRST_DELAY_MS = 2_000;
/** Whoever comes back is heard from, and tried at once; this is for those that nobody talks to. */
const MAX_DELAY_MS = 6 * 60 * 60 * 1000;

/** Doubles with each failure; with chance in it, so that those who failed together do not come back together. */
export function backOffDelay(
  failures: number,
  { random, after = 0 }: { random: Random; after?: number | undefined },
): number {
  const delay = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 30));
  const spread = 0.75 + random.integer(500) / 1000;
  return Math.max(after, Math.round(delay * spread));
}

/** Whether the server refuses these very events, whenever they come: a smaller transaction may pass. */
export function isRefusedContent({ status }: FederationError): boolean {
  return status === 400 || status === 413;
}
