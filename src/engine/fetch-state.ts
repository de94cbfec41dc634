/**
 * The state at an event that we lack, from other servers: it becomes an outlier at which the state is known. What is named
 * is compared with what is here; a few missing events are asked for one by one, and many as a whole.
 *
 * Invariant: only events that were admitted and judged by their auth events become part of a state.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-state
 */
import { checkAuth } from '../protocol/auth-rules.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import { listUsableState, loadNids } from '../storage/imported-rooms.ts';
import { type KnownEvent, updateOutlierState } from '../storage/received-events.ts';
import { listStateEntries } from '../storage/state.ts';
import { askServers, type FetchParts, type FetchWork, fetchAuthEvents, fetchEvents } from './fetch-events.ts';
import { startImport } from './import-events.ts';
import { keysToJudge, viewOf } from './judge-received.ts';
import { storeOutliers } from './outliers.ts';
import type { PduSource, StateIds } from './ports.ts';
import { loadKnown } from './received-batch.ts';
import type { NewStateEvent, StateResolver } from './state-resolver.ts';

/** The state and auth chain that one answer may name. */
const MAX_STATE_IDS = 300_000;
/** As many events cost less as a whole than one by one. */
const MAX_SINGLE_EVENTS = 100;
/** Bounds one statement. */
const IDS_PER_QUERY = 10_000;

/** Events between two reports of how far it is. */
const PROGRESS_STEP = 5_000;

export interface StateFetchParts extends FetchParts {
  readonly resolver: StateResolver;
  /** Told now and then how many events of a large state are stored. */
  readonly onProgress?: (roomId: RoomId, events: number) => void;
}

interface StateAt {
  readonly server: ServerName;
  readonly eventId: EventId;
  readonly ids: StateIds;
}

/** Whether some server gave a state that can be used. */
export async function fetchState(parts: StateFetchParts, work: FetchWork, eventId: EventId): Promise<boolean> {
  const { roomId } = work.batch;
  const taken = await askServers(
    work,
    async (server) => ({ server, ids: await parts.remote.fetchStateIds({ server, roomId, eventId }) }),
    ({ server, ids }) =>
      ids.stateIds.length + ids.authChainIds.length > MAX_STATE_IDS
        ? Promise.resolve(undefined)
        : takeState(parts, work, { server, eventId, ids }),
  );
  return taken === true;
}

/** Gives undefined where the state is not to be used. */
async function takeState(parts: StateFetchParts, work: FetchWork, at: StateAt): Promise<true | undefined> {
  const { batch, create } = work;
  const { database, resolver } = parts;
  const { eventId, ids } = at;
  const named = [...new Set([eventId, ...ids.stateIds, ...ids.authChainIds])];
  await fetchMissing(parts, work, { ...at, named });
  await loadKnown(database, batch, [eventId]);
  const event = batch.known.get(eventId);
  const state = await loadUsable(parts, work, ids.stateIds);
  const creates = state.filter(({ type, stateKey }) => type === 'm.room.create' && stateKey === '');
  if (event === undefined || create === undefined) return undefined;
  if (creates.length === 0 || creates.some(({ nid }) => nid !== create.nid)) return undefined;
  const stateBefore = await resolver.create(batch, state);
  const isAccepted = event.rejection === undefined && (await isAllowed(parts, work, { event, stateBefore }));
  const { type, stateKey } = event.event;
  const changes = isAccepted && stateKey !== undefined ? [{ nid: event.nid, type, stateKey }] : [];
  const stateAfter = changes.length === 0 ? stateBefore : await resolver.extend(batch, stateBefore, ...changes);
  await updateOutlierState(database, event.nid, { stateBefore, stateAfter });
  batch.known.set(eventId, { ...event, stateBefore, stateAfter });
  return true;
}

interface NamedAt extends StateAt {
  readonly named: readonly EventId[];
}

async function fetchMissing(
  parts: StateFetchParts,
  work: FetchWork,
  { server, eventId, named }: NamedAt,
): Promise<void> {
  let missing = await listMissing(parts, named);
  if (missing.length > MAX_SINGLE_EVENTS) {
    await fetchWhole(parts, work, { server, eventId }).catch(() => undefined);
    missing = await listMissing(parts, missing);
  }
  const fetched = await fetchEvents(parts, work, missing);
  await fetchAuthEvents(parts, work, fetched);
  await storeOutliers(parts, work, fetched);
}

async function listMissing({ database }: StateFetchParts, eventIds: readonly EventId[]): Promise<readonly EventId[]> {
  const missing: EventId[] = [];
  for (let from = 0; from < eventIds.length; from += IDS_PER_QUERY) {
    const ids = eventIds.slice(from, from + IDS_PER_QUERY);
    const stored = new Set((await loadNids(database, ids)).map(({ eventId }) => eventId));
    missing.push(...ids.filter((id) => !stored.has(id)));
  }
  return missing;
}

/** What cannot be had this way is left to be asked for alone. */
async function fetchWhole(
  parts: StateFetchParts,
  { batch, create }: FetchWork,
  { server, eventId }: Pick<StateAt, 'server' | 'eventId'>,
): Promise<void> {
  const { roomId, version } = batch;
  const answer = await parts.remote.fetchState({ server, roomId, eventId, version });
  if (create === undefined) return;
  const events = startImport(parts, batch, create);
  await events.take(answer.authChain);
  await events.take(counted(parts, roomId, answer.state));
  await events.finish(create);
}

async function* counted({ onProgress }: StateFetchParts, roomId: RoomId, source: PduSource): AsyncIterable<JsonValue> {
  let events = 0;
  for await (const value of source) {
    yield value;
    events += 1;
    if (events % PROGRESS_STEP === 0) onProgress?.(roomId, events);
  }
}

/** State events of this room that were not rejected: what a server claims beyond that is left out. */
async function loadUsable(
  { database }: StateFetchParts,
  { batch }: FetchWork,
  stateIds: readonly EventId[],
): Promise<readonly NewStateEvent[]> {
  const state: NewStateEvent[] = [];
  for (let from = 0; from < stateIds.length; from += IDS_PER_QUERY) {
    state.push(...(await listUsableState(database, batch.roomId, stateIds.slice(from, from + IDS_PER_QUERY))));
  }
  return state;
}

async function isAllowed(
  { database }: StateFetchParts,
  { batch }: FetchWork,
  { event: { event }, stateBefore }: { readonly event: KnownEvent; readonly stateBefore: number },
): Promise<boolean> {
  const { roomId, version } = batch;
  const wanted = { roomId, version, snapshotNids: [stateBefore], keys: keysToJudge(event, version) };
  return checkAuth(event, viewOf(await listStateEntries(database, wanted)), version).allowed;
}
