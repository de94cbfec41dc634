/**
 * Presence as clients see it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mpresence
 */
import type { JsonObject } from './pdu.ts';

export type PresenceState = 'online' | 'unavailable' | 'offline';

export interface PresenceStatus {
  readonly state: PresenceState;
  readonly statusMessage: string | undefined;
  /** Unix milliseconds. */
  readonly lastActiveAt: number;
}

/** Whoever did something within the last minute counts as active now. */
const ACTIVE_MS = 60_000;

/** The content of an `m.presence` event. */
export function presenceContent({ state, statusMessage, lastActiveAt }: PresenceStatus, now: number): JsonObject {
  const ago = Math.max(0, now - lastActiveAt);
  return {
    presence: state,
    last_active_ago: ago,
    ...(state !== 'offline' && { currently_active: state === 'online' && ago < ACTIVE_MS }),
    ...(statusMessage !== undefined && { status_msg: statusMessage }),
  };
}
