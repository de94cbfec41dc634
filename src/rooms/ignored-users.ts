/**
 * Whom a user ignores: what those said is left out of what the user reads; their state events are the room's and stay.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#ignoring-users
 */
import type { UserId } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';

export interface IgnoredUsers {
  /** Never the user themselves. */
  load(userId: UserId): Promise<ReadonlySet<string>>;
}

export function isIgnored({ stateKey, sender }: Event, ignored: ReadonlySet<string>): boolean {
  return ignored.size > 0 && stateKey === undefined && ignored.has(sender);
}
