/**
 * Rooms as other servers tell of them: single events, what lies before an event, and the state there. Nothing of an answer
 * is checked here but its shape; what may be believed is the engine's to decide.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
 */
import type { PduVerifier, RemoteRooms, StateIds } from '../engine/ports.ts';
import { createBreather } from '../lib/breather.ts';
import type { Clock } from '../lib/clock.ts';
import { type EventId, isEventId } from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { type FederationClient, federationPath } from './client.ts';
import { FederationError } from './federation-error.ts';
import { readStateAnswer } from './join-answer.ts';
import { prepareKeys } from './join-keys.ts';
import type { Keyring, SignatureVerdict } from './keyring.ts';

/** A hundred events of 64 KiB and their frame. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** Half a million event ids. */
const MAX_STATE_IDS_BYTES = 32 * 1024 * 1024;
const MAX_EVENT_BYTES = 256 * 1024;
const PAGE_DEADLINE_MS = 15_000;

/** The state of the largest rooms, which takes the other server its time. */
const MAX_STATE_BYTES = 256 * 1024 * 1024;
const STATE_DEADLINE_MS = 120_000;

export interface RemoteRoomsOptions {
  readonly client: Pick<FederationClient, 'fetchJson' | 'fetchBytes'>;
  readonly keyring: Pick<Keyring, 'prepare'>;
  readonly clock: Clock;
  readonly stopping: AbortSignal;
}

export function createRemoteRooms({ client, keyring, clock, stopping: signal }: RemoteRoomsOptions): RemoteRooms {
  return {
    async fetchState({ server: destination, roomId, eventId, version }) {
      const bytes = await client.fetchBytes({
        destination,
        method: 'GET',
        path: federationPath`/_matrix/federation/v1/state/${roomId}?event_id=${eventId}`,
        deadlineMs: STATE_DEADLINE_MS,
        maxBytes: MAX_STATE_BYTES,
        signal,
      });
      const reading = { version, breathe: createBreather(clock), signal };
      const answer = await readStateAnswer(bytes, reading);
      await prepareKeys(keyring, answer, reading);
      return answer;
    },

    async fetchMissingEvents({ server: destination, roomId, earliest, latest, limit }) {
      const answer = await client.fetchJson({
        destination,
        method: 'POST',
        path: federationPath`/_matrix/federation/v1/get_missing_events/${roomId}`,
        body: { earliest_events: earliest, latest_events: latest, limit, min_depth: 0 },
        deadlineMs: PAGE_DEADLINE_MS,
        maxBytes: MAX_PAGE_BYTES,
      });
      return listIn(answer, 'events');
    },

    async fetchStateIds({ server: destination, roomId, eventId }): Promise<StateIds> {
      const answer = await client.fetchJson({
        destination,
        method: 'GET',
        path: federationPath`/_matrix/federation/v1/state_ids/${roomId}?event_id=${eventId}`,
        deadlineMs: STATE_DEADLINE_MS,
        maxBytes: MAX_STATE_IDS_BYTES,
        signal,
      });
      return { stateIds: idsIn(answer, 'pdu_ids'), authChainIds: idsIn(answer, 'auth_chain_ids') };
    },

    async fetchEvent({ server: destination, eventId }) {
      try {
        const answer = await client.fetchJson({
          destination,
          method: 'GET',
          path: federationPath`/_matrix/federation/v1/event/${eventId}`,
          deadlineMs: PAGE_DEADLINE_MS,
          maxBytes: MAX_EVENT_BYTES,
        });
        return listIn(answer, 'pdus')[0];
      } catch (cause) {
        if (cause instanceof FederationError && cause.status === 404) return undefined;
        throw cause;
      }
    },

    async fetchBackfill({ server: destination, roomId, from, limit }) {
      const named = from.map((eventId) => federationPath`&v=${eventId}`).join('');
      const answer = await client.fetchJson({
        destination,
        method: 'GET',
        path: federationPath`/_matrix/federation/v1/backfill/${roomId}?limit=${limit}` + named,
        deadlineMs: PAGE_DEADLINE_MS,
        maxBytes: MAX_PAGE_BYTES,
      });
      return listIn(answer, 'pdus');
    },
  };
}

const FAULTS: Readonly<Record<SignatureVerdict, string | undefined>> = {
  valid: undefined,
  invalid: 'a signature that it needs is missing or wrong',
  no_key: 'nobody could show the key that it is signed with',
};

export function createPduVerifier(keyring: Pick<Keyring, 'verifyEvents'>): PduVerifier {
  return { verify: async (pdus) => (await keyring.verifyEvents(pdus)).map((verdict) => FAULTS[verdict]) };
}

function listIn(answer: JsonObject, key: string): readonly JsonValue[] {
  const list = answer[key];
  return isJsonArray(list) ? list : [];
}

function idsIn(answer: JsonObject, key: string): readonly EventId[] {
  // PostgreSQL is asked for them next, and its text holds no NUL.
  return listIn(answer, key).filter((id): id is EventId => typeof id === 'string' && isEventId(id));
}
