/**
 * Events asked of other servers by their ids, with the auth events that they rest on: what every way of filling a gap needs.
 * Several servers are asked in turn, and how much one piece of work may fetch is bounded.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
 */
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { EventId, ServerName } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { missingAuthEvents, type OutlierParts, storeOutliers } from './outliers.ts';
import type { ReceivedEvent } from './parse-received.ts';
import type { PduVerifier, RemoteRooms } from './ports.ts';
import { loadKnown, type ReceivedBatch } from './received-batch.ts';
import type { RoomSnapshot, StateEntry } from './room-snapshot.ts';

/** Single events fetched at the same time, and for one call in all: the state and auth chain of a large room. */
const FETCHES_AT_ONCE = 10;
const MAX_FETCHES = 20_000;
/** Levels of auth events that are followed one by one; with /state_ids the whole chain is named at once. */
const MAX_AUTH_ROUNDS = 30;

export interface FetchParts extends OutlierParts {
  readonly database: Database;
  readonly verifier: PduVerifier;
  readonly remote: RemoteRooms;
}

/** One call's progress: whom to ask, and how much may still be fetched. */
export interface FetchWork {
  readonly batch: ReceivedBatch;
  readonly snapshot: RoomSnapshot;
  readonly servers: readonly ServerName[];
  readonly create: StateEntry | undefined;
  fetchesLeft: number;
}

export function startFetching(
  { batch, snapshot }: { readonly batch: ReceivedBatch; readonly snapshot: RoomSnapshot },
  servers: readonly ServerName[],
): FetchWork {
  return { batch, snapshot, servers, create: snapshot.get('m.room.create', ''), fetchesLeft: MAX_FETCHES };
}

/** The first usable answer of the servers; one that gives none is passed over. What `take` throws is our own failure. */
export async function askServers<Answer, T>(
  { servers }: FetchWork,
  ask: (server: ServerName) => Promise<Answer | undefined>,
  take: (answer: Answer) => Promise<T | undefined>,
): Promise<T | undefined> {
  for (const server of servers) {
    const answer = await ask(server).catch(() => undefined);
    const taken = answer === undefined ? undefined : await take(answer);
    if (taken !== undefined) return taken;
  }
  return undefined;
}

/** Fetches auth events and theirs in turn, and stores what holds together. */
export async function fetchAuthEvents(
  options: FetchParts,
  work: FetchWork,
  received: readonly ReceivedEvent[],
): Promise<void> {
  const { batch } = work;
  const fetched: ReceivedEvent[] = [];
  const asked = new Set<EventId>();
  for (let round = 0; round < MAX_AUTH_ROUNDS; round++) {
    const needing = [...received, ...fetched];
    await loadKnown(options.database, batch, missingAuthEvents(batch, needing));
    const missing = missingAuthEvents(batch, needing).filter((id) => !asked.has(id));
    if (missing.length === 0) break;
    for (const id of missing) asked.add(id);
    fetched.push(...(await fetchEvents(options, work, missing)));
  }
  if (fetched.length > 0) await storeOutliers(options, work, fetched);
}

/** The events of these ids that some server gave, a few asked for at the same time. */
export async function fetchEvents(
  { remote, verifier }: FetchParts,
  work: FetchWork,
  eventIds: readonly EventId[],
): Promise<readonly ReceivedEvent[]> {
  const { batch } = work;
  const { roomId } = batch;
  const taken = eventIds.slice(0, Math.max(work.fetchesLeft, 0));
  work.fetchesLeft -= taken.length;
  const found: ReceivedEvent[] = [];
  await forEachLimited(taken, FETCHES_AT_ONCE, async (eventId) => {
    const one = await askServers(
      work,
      (server): Promise<JsonValue | undefined> => remote.fetchEvent({ server, roomId, eventId }),
      async (value) =>
        admitted(await admitPdus(verifier, batch, [value])).find(({ event }) => event.eventId === eventId),
    );
    if (one !== undefined) found.push(one);
  });
  return found;
}
