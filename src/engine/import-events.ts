/**
 * The state and auth chain of a room that a user of ours joins, from another server into the database: admitted as they
 * come, stored in batches, then judged in the order of their auth events. In memory there is never more than a batch and,
 * for each event, who it is and what it rests on; so a room of any size passes through.
 */
import { Lru } from '../lib/lru.ts';
import type { EventId } from '../protocol/ids.ts';
import type { JsonValue, StateEvent } from '../protocol/pdu.ts';
import { loadNids, UNJUDGED, updateVerdicts } from '../storage/imported-rooms.ts';
import { arrayLiteral } from '../storage/pdu-stream.ts';
import { insertUnplaced, type KnownEvent, loadKnownEvents } from '../storage/received-events.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { judgeByAuthEvents } from './judge-received.ts';
import type { OutlierParts } from './outliers.ts';
import type { ReceivedEvent, ReceivingRoom } from './parse-received.ts';
import type { PduSource, PduVerifier } from './ports.ts';

/** Bounds a statement, a round of signature checks, and what is in memory at once. */
const BATCH_SIZE = 500;
/** Auth events are cited over and over: create, power levels, join rules, and the members of the batch. */
const MAX_CITED = 4_000;

export interface ImportParts extends OutlierParts {
  readonly verifier: PduVerifier;
}

export interface ImportedEvent {
  readonly eventId: EventId;
  readonly nid: number;
  readonly authEvents: readonly EventId[];
  readonly type: string;
  readonly stateKey: string | undefined;
}

/** Admits and stores the events; of those that were here before nothing changes. */
export async function storeUnjudged(
  parts: ImportParts,
  room: ReceivingRoom,
  source: PduSource,
): Promise<readonly ImportedEvent[]> {
  const imported: ImportedEvent[] = [];
  for await (const values of inBatches(source)) {
    const received = admitted(await admitPdus(parts.verifier, room, values));
    imported.push(...(await storeBatch(parts, received)));
  }
  return imported;
}

async function* inBatches(source: PduSource): AsyncIterable<readonly JsonValue[]> {
  let batch: JsonValue[] = [];
  for await (const value of source) {
    batch.push(value);
    if (batch.length < BATCH_SIZE) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function storeBatch(
  { database, eventNids }: ImportParts,
  received: readonly ReceivedEvent[],
): Promise<readonly ImportedEvent[]> {
  const rows = await Promise.all(
    received.map(async ({ event, text }) => ({
      nid: await eventNids.take(),
      event,
      pduText: text,
      stateBefore: null,
      stateAfter: null,
      authNids: [],
      outlier: true,
      softFailed: false,
      rejection: UNJUDGED,
    })),
  );
  await insertUnplaced(database, rows);
  const nids = await loadNids(
    database,
    received.map(({ event }) => event.eventId),
  );
  const nidOf = new Map(nids.map(({ eventId, nid }) => [eventId, nid]));
  return received.flatMap(({ event: { eventId, authEvents, type, stateKey } }) => {
    const nid = nidOf.get(eventId);
    return nid === undefined ? [] : [{ eventId, nid, authEvents, type, stateKey }];
  });
}

/** Judges each by its auth events, those first; what rests on an event that is not there stays unjudged. */
export async function judgeImported(
  { database }: ImportParts,
  { room, create }: { readonly room: ReceivingRoom; readonly create: StateEvent | undefined },
  imported: readonly ImportedEvent[],
): Promise<void> {
  const cited = new Lru<EventId, KnownEvent>({ maxCost: MAX_CITED });
  const sorted = sortByCitation(imported);
  for (let from = 0; from < sorted.length; from += BATCH_SIZE) {
    const batch = sorted.slice(from, from + BATCH_SIZE);
    const ids = new Set(batch.flatMap(({ eventId, authEvents }) => [eventId, ...authEvents]));
    const missing = [...ids].filter((id) => !cited.has(id));
    const loaded = await loadKnownEvents(database, room.version, missing);
    const found = new Map(loaded.map((one) => [one.event.eventId, one]));
    const get = (id: EventId): KnownEvent | undefined => found.get(id) ?? cited.get(id);
    const rows: Parameters<typeof updateVerdicts>[1][number][] = [];
    for (const one of batch) {
      const judged = judge(one, { get, room, create });
      if (judged === undefined) continue;
      rows.push(judged.row);
      // What comes later in the batch may rest on it.
      found.set(one.eventId, judged.known);
    }
    await updateVerdicts(database, rows);
    for (const [id, known] of found) cited.set(id, known);
  }
}

interface Judging {
  readonly get: (id: EventId) => KnownEvent | undefined;
  readonly room: ReceivingRoom;
  readonly create: StateEvent | undefined;
}

function judge({ eventId, authEvents: ids }: ImportedEvent, { get, room, create }: Judging) {
  const known = get(eventId);
  const authEvents = ids.flatMap((id) => get(id) ?? []);
  if (known?.rejection !== UNJUDGED || authEvents.length < ids.length) return undefined;
  if (authEvents.some((one) => one.rejection === UNJUDGED)) return undefined;
  const verdict = judgeByAuthEvents(known.event, { version: room.version, authEvents, create });
  const rejection = verdict.allowed ? undefined : verdict.rule;
  const authNids = arrayLiteral(authEvents.map(({ nid }) => nid));
  return { row: { nid: known.nid, authNids, rejection }, known: { ...known, rejection } };
}

/** What is cited before what cites it; events in a circle, which hashes rule out, are left out. */
function sortByCitation(imported: readonly ImportedEvent[]): readonly ImportedEvent[] {
  const byId = new Map(imported.map((one) => [one.eventId, one]));
  const waiting = new Map<EventId, number>();
  const citing = new Map<EventId, ImportedEvent[]>();
  for (const one of byId.values()) {
    const inside = one.authEvents.filter((id) => byId.has(id));
    waiting.set(one.eventId, inside.length);
    for (const id of inside) {
      const list = citing.get(id);
      if (list === undefined) citing.set(id, [one]);
      else list.push(one);
    }
  }
  const sorted = [...byId.values()].filter(({ eventId }) => waiting.get(eventId) === 0);
  // The list grows while it is walked.
  for (const { eventId } of sorted) {
    for (const one of citing.get(eventId) ?? []) {
      const left = (waiting.get(one.eventId) ?? 0) - 1;
      waiting.set(one.eventId, left);
      if (left === 0) sorted.push(one);
    }
  }
  return sorted;
}
