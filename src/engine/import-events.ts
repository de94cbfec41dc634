/**
 * The state and auth chain of a room, from another server into the database: admitted as they come, judged by their auth
 * events where these came before, and stored in batches, the next one being admitted meanwhile. In memory there is never
 * more than two batches and, for each event, who it is and what it rests on; so a room of any size passes through.
 *
 * Invariants: nothing rests on an event that was not judged; a verdict rests on the create event that the room turns out to
 * have; of events that were here before nothing changes.
 */
import { Lru } from '../lib/lru.ts';
import type { EventId } from '../protocol/ids.ts';
import type { JsonValue, StateEvent } from '../protocol/pdu.ts';
import { loadNids, UNJUDGED, updateUnjudged, updateVerdicts } from '../storage/imported-rooms.ts';
import { arrayLiteral } from '../storage/pdu-stream.ts';
import { insertUnplaced, type KnownEvent, loadKnownEvents, type UnplacedEvent } from '../storage/received-events.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { judgeByAuthEvents } from './judge-received.ts';
import type { OutlierParts } from './outliers.ts';
import type { ReceivedEvent, ReceivingRoom } from './parse-received.ts';
import type { PduSource, PduVerifier } from './ports.ts';
import { sortTopologically } from './received-batch.ts';

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

export interface EventImport {
  /** Admits and stores the events; those whose auth events came later wait to be judged. */
  take(source: PduSource): Promise<readonly ImportedEvent[]>;
  /** Says which create event the room has. What was judged by another is judged anew. */
  restOn(create: ImportedEvent): Promise<void>;
  /** Judges what still waits; what rests on an event that is not there stays unjudged. */
  finish(create: StateEvent): Promise<void>;
}

/** `create`: that of a room which is known. Else the first one that comes is taken for it until the room says which it is. */
export function startImport(parts: ImportParts, room: ReceivingRoom, create?: StateEvent): EventImport {
  return new RunningImport(parts, room, create);
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

class RunningImport implements EventImport {
  readonly #parts: ImportParts;
  readonly #room: ReceivingRoom;
  /** Those that it stored itself. */
  readonly #own: ImportedEvent[] = [];
  readonly #unjudged = new Map<EventId, ImportedEvent>();
  /** Those that have been judged. */
  readonly #cited = new Lru<EventId, KnownEvent>({ maxCost: MAX_CITED });
  #create: StateEvent | undefined;
  /** Somebody else stored events of the room at the same time: these are judged when all are there. */
  #isCrossed = false;

  constructor(parts: ImportParts, room: ReceivingRoom, create: StateEvent | undefined) {
    this.#parts = parts;
    this.#room = room;
    this.#create = create;
  }

  async take(source: PduSource): Promise<readonly ImportedEvent[]> {
    const taken: ImportedEvent[] = [];
    let storing = Promise.resolve();
    for await (const values of inBatches(source)) {
      const received = admitted(await admitPdus(this.#parts.verifier, this.#room, values));
      await storing;
      storing = this.#store(received).then((stored) => {
        taken.push(...stored);
      });
      // Heard with the next batch; until then it must not count as unhandled.
      storing.catch(() => undefined);
    }
    await storing;
    return taken;
  }

  async restOn(create: ImportedEvent): Promise<void> {
    if (this.#create?.eventId !== create.eventId) await this.#startAnew();
    this.#create = undefined;
    if (this.#unjudged.has(create.eventId)) await this.#judgeStored([create], undefined);
  }

  async finish(create: StateEvent): Promise<void> {
    await this.#judgeStored(
      sortTopologically([...this.#unjudged.values()].map(toNode)).map(({ one }) => one),
      create,
    );
  }

  async #store(received: readonly ReceivedEvent[]): Promise<readonly ImportedEvent[]> {
    const { database } = this.#parts;
    const ids = received.map(({ event }) => event.eventId);
    const here = new Map((await loadNids(database, ids)).map((one) => [one.eventId, one]));
    const fresh = received.filter(({ event }) => !here.has(event.eventId));
    await this.#loadCited(fresh);
    const rows: UnplacedEvent[] = [];
    for (const one of sortTopologically(fresh)) rows.push(await this.#toRow(one));
    const isCrossed = (await insertUnplaced(database, rows)) < rows.length;
    const nids = isCrossed ? await loadNids(database, ids) : [...here.values(), ...rows.map(toNid)];
    const nidOf = new Map(nids.map((one) => [one.eventId, one]));
    const own = new Set(rows.map(({ nid }) => nid));
    const taken = received.flatMap(({ event: { eventId, authEvents, type, stateKey } }) => {
      const stored = nidOf.get(eventId);
      if (stored === undefined) return [];
      const imported = { eventId, nid: stored.nid, authEvents, type, stateKey };
      if (own.has(stored.nid)) this.#own.push(imported);
      if (stored.rejection === UNJUDGED) this.#unjudged.set(eventId, imported);
      return [imported];
    });
    if (isCrossed) await this.#cross();
    return taken;
  }

  /** Auth events from before this batch that are not in memory. */
  async #loadCited(fresh: readonly ReceivedEvent[]): Promise<void> {
    const own = new Set(fresh.map(({ event }) => event.eventId));
    const missing = new Set(fresh.flatMap(({ event }) => event.authEvents).filter((id) => !own.has(id)));
    const unknown = [...missing].filter((id) => !this.#cited.has(id) && !this.#unjudged.has(id));
    for (const known of await loadKnownEvents(this.#parts.database, this.#room.version, unknown)) {
      if (known.rejection !== UNJUDGED) this.#cited.set(known.event.eventId, known);
    }
  }

  async #toRow({ event, text, oversize }: ReceivedEvent): Promise<UnplacedEvent> {
    const { version } = this.#room;
    const authEvents = event.authEvents.flatMap((id) => this.#cited.get(id) ?? []);
    const state = { stateBefore: null, stateAfter: null, outlier: true, softFailed: false };
    const row = { nid: await this.#parts.eventNids.take(), event, pduText: text, ...state };
    const isCreate = event.type === 'm.room.create' && event.stateKey === '';
    const create = this.#create;
    const canBeJudged = !this.#isCrossed && (create !== undefined || isCreate);
    if (!canBeJudged || authEvents.length < event.authEvents.length)
      return { ...row, authNids: [], rejection: UNJUDGED };
    const verdict = judgeByAuthEvents(event, { version, authEvents, create });
    const size = oversize === undefined ? undefined : `v${version.id}:size`;
    const rejection = verdict.allowed ? size : verdict.rule;
    if (isCreate && rejection === undefined) this.#create ??= { ...event, stateKey: '' };
    this.#cited.set(event.eventId, { ...row, rejection, position: null, isRedacted: false });
    return { ...row, authNids: authEvents.map(({ nid }) => nid), rejection };
  }

  /** An event may have another number than the one that it was cited by. */
  async #cross(): Promise<void> {
    this.#isCrossed = true;
    await this.#startAnew();
  }

  async #startAnew(): Promise<void> {
    this.#cited.clear();
    for (const one of this.#own) this.#unjudged.set(one.eventId, one);
    await updateUnjudged(
      this.#parts.database,
      this.#own.map(({ nid }) => nid),
    );
  }

  /** Judges each by its auth events, those first. */
  async #judgeStored(sorted: readonly ImportedEvent[], create: StateEvent | undefined): Promise<void> {
    const { database } = this.#parts;
    for (let from = 0; from < sorted.length; from += BATCH_SIZE) {
      const batch = sorted.slice(from, from + BATCH_SIZE);
      const ids = new Set(batch.flatMap(({ eventId, authEvents }) => [eventId, ...authEvents]));
      const missing = [...ids].filter((id) => !this.#cited.has(id));
      const loaded = await loadKnownEvents(database, this.#room.version, missing);
      const found = new Map(loaded.map((one) => [one.event.eventId, one]));
      const get = (id: EventId): KnownEvent | undefined => found.get(id) ?? this.#cited.get(id);
      const rows: Parameters<typeof updateVerdicts>[1][number][] = [];
      for (const one of batch) {
        const judged = judge(one, { get, room: this.#room, create });
        if (judged === undefined) continue;
        rows.push(judged.row);
        this.#unjudged.delete(one.eventId);
        // What comes later in the batch may rest on it.
        found.set(one.eventId, judged.known);
      }
      await updateVerdicts(database, rows);
      for (const [id, known] of found) if (known.rejection !== UNJUDGED) this.#cited.set(id, known);
    }
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

function toNid({ nid, event: { eventId }, rejection }: UnplacedEvent) {
  return { eventId, nid, rejection: rejection ?? null };
}

function toNode(one: ImportedEvent) {
  return { one, event: { eventId: one.eventId, prevEvents: [], authEvents: one.authEvents } };
}
