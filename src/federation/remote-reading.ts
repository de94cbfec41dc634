/**
 * What other servers say of rooms to whoever reads them: the event nearest to a time, and spaces with their children.
 * Nothing of an answer is checked here but its shape.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#spaces
 */
import { type EventId, isEventId, type RoomId, type ServerName } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type FederationClient, federationPath } from './client.ts';

/** A space of some hundred children with long topics. */
const MAX_HIERARCHY_BYTES = 2 * 1024 * 1024;
const MAX_TIME_BYTES = 64 * 1024;
/** A client waits for these. */
const DEADLINE_MS = 10_000;

export interface TimeQuestion {
  readonly server: ServerName;
  readonly roomId: RoomId;
  /** Unix milliseconds. */
  readonly at: number;
  readonly direction: 'forward' | 'backward';
}

/** Each asks one server and rejects where that gives no answer. */
export interface RemoteReading {
  fetchEventAtTime(
    question: TimeQuestion,
  ): Promise<{ readonly eventId: EventId; readonly originServerTs: number } | undefined>;
  fetchHierarchy(server: ServerName, roomId: RoomId): Promise<JsonObject>;
}

export function createRemoteReading(client: Pick<FederationClient, 'fetchJson'>): RemoteReading {
  return {
    async fetchEventAtTime({ server: destination, roomId, at, direction }) {
      const dir = direction === 'forward' ? 'f' : 'b';
      const answer = await client.fetchJson({
        destination,
        method: 'GET',
        path: federationPath`/_matrix/federation/v1/timestamp_to_event/${roomId}?ts=${at}&dir=${dir}`,
        deadlineMs: DEADLINE_MS,
        maxBytes: MAX_TIME_BYTES,
      });
      const { event_id: eventId, origin_server_ts: originServerTs } = answer;
      if (typeof eventId !== 'string' || !isEventId(eventId) || typeof originServerTs !== 'number') return undefined;
      return { eventId, originServerTs };
    },

    fetchHierarchy: (destination, roomId) =>
      client.fetchJson({
        destination,
        method: 'GET',
        path: federationPath`/_matrix/federation/v1/hierarchy/${roomId}?suggested_only=false`,
        deadlineMs: DEADLINE_MS,
        maxBytes: MAX_HIERARCHY_BYTES,
      }),
  };
}
