/**
 * A room of other servers becomes one of ours: a user of ours has joined it, and a server in it gave its state, the auth
 * chain and the join. The events are outliers by then; the state becomes the room's, and the join enters as its first
 * event, in the room's turn. What lies before it is history, fetched when somebody asks for it.
 *
 * Invariants: nothing is in the stream before the join is; the create event is that of the room and of its version; a room
 * that we were in before is taken in anew from the state given, since nobody of ours has followed it meanwhile; of a room
 * that is not taken in nothing stays.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import type { Clock } from '../lib/clock.ts';
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import { checkAuth } from '../protocol/auth-rules.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonValue, StateEvent } from '../protocol/pdu.ts';
import { MAX_DEPTH } from '../protocol/pdu-format.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { stateKeyOf } from '../protocol/state-resolution/index.ts';
import type { Transaction } from '../storage/database.ts';
import {
  deleteRoomState,
  deleteUnfinishedImport,
  type ImportedState,
  insertImportedState,
  loadNids,
} from '../storage/imported-rooms.ts';
import { insertPartialRoom } from '../storage/partial-rooms.ts';
import {
  deleteOutliers,
  insertBackwardExtremities,
  type KnownEvent,
  loadKnownEvents,
} from '../storage/received-events.ts';
import { insertRoom, isKnownRoom } from '../storage/rooms.ts';
import type { Fact } from '../streams/committer.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import { citedMembers } from './cited-members.ts';
import { type EventImport, type ImportedEvent, type ImportParts, startImport } from './import-events.ts';
import { judgeByAuthEvents } from './judge-received.ts';
import { loadEntries } from './load-state.ts';
import { createLocalMembers } from './local-members.ts';
import type { ReceivedEvent } from './parse-received.ts';
import { afterGap, type PlacedEvent, placeEvent } from './place-event.ts';
import { placeReceived } from './place-received.ts';
import type { Policing } from './policing.ts';
import type { PduSource } from './ports.ts';
import { createBatch, isInGraph, loadIntoBatch } from './received-batch.ts';
import { RoomActor, type Turn } from './room-actor.ts';
import { loadChain } from './room-loader.ts';
import { emptySnapshot, membershipIn, RoomSnapshot, type StateEntry } from './room-snapshot.ts';
import type { RoomWriting } from './room-writing.ts';
import type { NewStateEvent, StateResolver } from './state-resolver.ts';
import type { RoomEngine } from './types.ts';

/** Bounds one statement. */
const STATE_PER_INSERT = 2_000;

export interface ImportRequest {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly state: PduSource;
  readonly authChain: PduSource;
  readonly joinEvent: JsonValue;
  /** The server that gave all this. */
  readonly via: ServerName;
  /** The other servers in the room, where the state lacks members, which are to be fetched later. */
  readonly partial: ReadonlySet<ServerName> | undefined;
}

export type ImportResult =
  | { readonly imported: true; readonly eventId: EventId }
  | { readonly imported: false; readonly reason: string };

export interface RoomImporter {
  importRoom(request: ImportRequest): Promise<ImportResult>;
}

export interface RoomImporterOptions extends ImportParts {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'> & { readonly writing: RoomWriting };
  readonly resolver: StateResolver;
  readonly policing: Pick<Policing, 'isRecommended'>;
  readonly serverName: ServerName;
  readonly clock: Clock;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

export function createRoomImporter(options: RoomImporterOptions): RoomImporter {
  const isInhabited = createLocalMembers(options.serverName);
  async function importAlone(given: ImportRequest): Promise<ImportResult> {
    const { roomId } = given;
    const known = await options.engine.loadSnapshot(roomId);
    if (known !== undefined && isInhabited(known)) return refuse('this server is in the room already');
    // Events of ours are still to be judged by the whole state, whatever comes now.
    const request = { ...given, partial: given.partial ?? known?.parts.partial };
    const join = await admitJoin(options, request);
    if (join === undefined) return refuse('the join is not an event of this room');
    const discard = (): Promise<void> => deleteUnfinishedImport(options.database, roomId);
    const prepared = await prepare(options, request, join).catch(async (cause: unknown) => {
      await discard();
      throw cause;
    });
    if ('reason' in prepared) {
      await discard();
      return refuse(prepared.reason);
    }
    const entering = { ...prepared, join };
    if (known?.isPartial === true) {
      const entered = await enterFollowing(options, request, entering);
      if (entered !== undefined) return entered;
    }
    const enter = (await isKnownRoom(options.database, roomId)) ? enterAgain : enterNew;
    return enter(options, request, entering);
  }

  return {
    importRoom: (request) => options.receiving.run(request.roomId, () => importAlone(request)),
  };
}

function refuse(reason: string): ImportResult {
  return { imported: false, reason };
}

async function admitJoin(
  { verifier }: RoomImporterOptions,
  { joinEvent, ...room }: ImportRequest,
): Promise<ReceivedEvent | undefined> {
  const [join] = admitted(await admitPdus(verifier, room, [joinEvent]));
  return join;
}

interface Prepared {
  readonly entries: readonly StateEntry[];
  /** The room before the join. */
  readonly before: RoomSnapshot;
  readonly authNids: readonly number[];
}

async function prepare(
  options: RoomImporterOptions,
  request: ImportRequest,
  join: ReceivedEvent,
): Promise<Prepared | { readonly reason: string }> {
  const events = startImport(options, request);
  await events.take(request.authChain);
  const stateEvents = await events.take(request.state);
  const create = await judgeCreate(options, request, { events, stateEvents });
  if (create === undefined) return { reason: 'the state holds no create event of this room and version' };
  await events.finish(create);
  const authEvents = await loadKnownEvents(options.database, request.version, join.event.authEvents);
  if (authEvents.length < join.event.authEvents.length) return { reason: 'not all auth events of the join were given' };
  const given = await loadState(options, request, { stateEvents, depth: join.event.depth - 1 });
  const { before, entries } = await withCited(options, request, { ...given, authEvents });
  const verdict = checkAuth(join.event, before, request.version);
  if (!verdict.allowed) return { reason: `the join is not allowed by the state given: ${verdict.reason}` };
  const byAuthEvents = judgeByAuthEvents(join.event, { version: request.version, authEvents, create });
  if (!byAuthEvents.allowed) return { reason: `the join is not allowed by its auth events: ${byAuthEvents.reason}` };
  return { before, entries, authNids: authEvents.map(({ nid }) => nid) };
}

/** All others rest on the create event, named as an auth event or not: it is judged first. */
async function judgeCreate(
  options: RoomImporterOptions,
  request: ImportRequest,
  { events, stateEvents }: { readonly events: EventImport; readonly stateEvents: readonly ImportedEvent[] },
): Promise<StateEvent | undefined> {
  const named = stateEvents.filter(({ type, stateKey }) => type === 'm.room.create' && stateKey === '');
  const [only] = named;
  if (only === undefined || new Set(named.map(({ nid }) => nid)).size > 1) return undefined;
  await events.restOn(only);
  const [known] = await loadKnownEvents(options.database, request.version, [only.eventId]);
  if (known === undefined || known.rejection !== undefined || known.event.roomId !== request.roomId) return undefined;
  // Versions from before there was the field are version 1.
  const version = known.event.content['room_version'] ?? '1';
  return version === request.version.id ? { ...known.event, stateKey: '' } : undefined;
}

/** What of the state was not rejected: the room before the join. */
async function loadState(
  { database, resolver }: RoomImporterOptions,
  request: ImportRequest,
  { stateEvents, depth }: { readonly stateEvents: readonly ImportedEvent[]; readonly depth: number },
): Promise<Pick<Prepared, 'before' | 'entries'>> {
  const usable: NewStateEvent[] = [];
  for (let from = 0; from < stateEvents.length; from += STATE_PER_INSERT) {
    const batch = new Map(stateEvents.slice(from, from + STATE_PER_INSERT).map((one) => [one.eventId, one]));
    for (const { eventId, rejection } of await loadNids(database, [...batch.keys()])) {
      const one = batch.get(eventId);
      if (rejection !== null || one?.stateKey === undefined) continue;
      usable.push({ nid: one.nid, type: one.type, stateKey: one.stateKey });
    }
  }
  const stateNid = await resolver.create(request, usable);
  // Of two events of one key the state has the later.
  const held = new Map(usable.map(({ type, stateKey, nid }) => [stateKeyOf(type, stateKey), nid]));
  const entries = await loadEntries(database, request.version, [...held.values()]);
  const empty = new RoomSnapshot({
    ...emptySnapshot(request).parts,
    depth: Math.min(Math.max(depth, 0), MAX_DEPTH),
    partial: request.partial,
  });
  return { before: empty.withEntries(entries, stateNid), entries };
}

interface CitedBy extends Pick<Prepared, 'before' | 'entries'> {
  readonly authEvents: readonly KnownEvent[];
}

/** Where members are missing, the join itself shows those that let the user in. */
async function withCited(
  { resolver }: RoomImporterOptions,
  request: ImportRequest,
  { before, entries, authEvents }: CitedBy,
): Promise<Pick<Prepared, 'before' | 'entries'>> {
  const { stateNid } = before.parts;
  const cited = request.partial === undefined ? [] : citedMembers(request.version, before, authEvents);
  if (cited.length === 0 || stateNid === null) return { before, entries };
  const all = [...entries, ...cited];
  return { before: before.withEntries(all, await resolver.extend(request, stateNid, ...cited)), entries: all };
}

interface Entering extends Prepared {
  readonly join: ReceivedEvent;
}

/** Decides the join on top of the state before it. */
async function placeJoin(options: RoomImporterOptions, { before, authNids, join }: Entering): Promise<PlacedEvent> {
  const { eventNids, snapshotNids } = options.engine.writing;
  const { stateNid } = before.parts;
  // It may be an outlier already: some servers count the join as part of the state they give.
  const [known] = await loadNids(options.database, [join.event.eventId]);
  return placeEvent(
    { head: before, chain: stateNid === null ? [] : await loadChain(options.database, stateNid) },
    {
      nid: known?.nid ?? (await eventNids.take()),
      event: join.event,
      text: join.text,
      referenceHash: join.referenceHash,
      authNids,
      transaction: undefined,
      redacts: undefined,
      snapshotNids,
    },
  );
}

async function enterNew(
  options: RoomImporterOptions,
  request: ImportRequest,
  entering: Entering,
): Promise<ImportResult> {
  const { database, engine, serverName } = options;
  const { roomId } = request;
  // Nobody reads these before there is such a room.
  await database.transaction((tx) => deleteRoomState(tx, roomId, serverName));
  const [ours, others] = split(entering.entries, serverName);
  for (let from = 0; from < others.length; from += STATE_PER_INSERT) {
    await insertImportedState(database, roomId, others.slice(from, from + STATE_PER_INSERT).map(toRow));
  }
  const placed = await placeJoin(options, entering);
  const actor = new RoomActor({ snapshot: entering.before, lastPosition: 0, chain: undefined });
  await actor.turn(async (turn) => turn.advance([placed.event], placed.chain));
  const create = entering.before.get('m.room.create', '');
  const also = (tx: Transaction): Promise<unknown> =>
    Promise.all([
      insertRoom(tx, {
        roomId,
        version: request.version,
        creator: create?.sender ?? entering.join.event.sender,
        createdAt: create?.originServerTs ?? 0,
        isPublic: false,
      }),
      insertImportedState(tx, roomId, ours.map(toRow)),
      alsoOfJoin(options, request, { entering, placed })(tx),
    ]);
  await engine.writing.found(actor, () => engine.writing.commit(actor, { facts: [toFact(placed)], also }));
  return { imported: true, eventId: entering.join.event.eventId };
}

/** The room is there from before, and has stood still since the last of ours left it. */
async function enterAgain(
  options: RoomImporterOptions,
  request: ImportRequest,
  entering: Entering,
): Promise<ImportResult> {
  const { engine, serverName } = options;
  const { roomId } = request;
  const decided = await engine.writing.turn(roomId, async (turn: Turn) => {
    const placed = await placeJoin(options, entering);
    turn.advance([placed.event], placed.chain);
    const also = (tx: Transaction): Promise<unknown> =>
      Promise.all([
        deleteRoomState(tx, roomId, serverName),
        insertImportedState(tx, roomId, entering.entries.map(toRow)),
        alsoOfJoin(options, request, { entering, placed })(tx),
      ]);
    return { committed: engine.writing.commit(turn.actor, { facts: [toFact(placed)], also }) };
  });
  if (decided === undefined) return refuse('the room was deleted meanwhile');
  await decided.committed;
  return { imported: true, eventId: entering.join.event.eventId };
}

/**
 * The room lacks members still, and the join follows what we have: it is an event like any other, and nothing is missing
 * before it. Undefined where it follows anything else.
 */
async function enterFollowing(
  { database, engine, resolver, policing }: RoomImporterOptions,
  { roomId, version }: ImportRequest,
  { join }: Entering,
): Promise<ImportResult | undefined> {
  const { eventId, prevEvents } = join.event;
  const batch = createBatch({ roomId, version }, { outgoing: new Map([[eventId, false]]) });
  await loadIntoBatch(database, batch, [join]);
  if (!prevEvents.every((id) => isInGraph(batch.known.get(id)))) return undefined;
  const { writing } = engine;
  const placed = await writing.turn(roomId, (turn) =>
    placeReceived({ database, writing, resolver, policing }, { turn, batch, received: join }),
  );
  await placed?.committed;
  const outcome = placed?.result.outcome;
  if (outcome === 'accepted' || outcome === 'known') return { imported: true, eventId };
  return refuse(`the join is not allowed by what is known of the room: ${outcome}`);
}

/** The server that let us in tells the others. What came before is missing, or may be. */
function toFact({ event }: PlacedEvent): Fact {
  return afterGap({ ...event.row, isOutgoing: false });
}

interface Entered {
  readonly entering: Entering;
  readonly placed: PlacedEvent;
}

function alsoOfJoin({ clock }: RoomImporterOptions, request: ImportRequest, { entering, placed }: Entered) {
  const { roomId, via, partial } = request;
  const { prevEvents } = entering.join.event;
  const missing = prevEvents.map((eventId) => ({ eventId, referencedBy: placed.event.nid }));
  return (tx: Transaction): Promise<unknown> =>
    Promise.all([
      deleteOutliers(tx, [placed.event.nid]),
      insertBackwardExtremities(tx, roomId, missing),
      partial === undefined
        ? undefined
        : insertPartialRoom(tx, {
            roomId,
            joinedVia: via,
            servers: [...partial],
            firstNid: placed.event.nid,
            startedAt: clock.now(),
          }),
    ]);
}

/** Members of ours appear together with the room, all else before it. */
function split(entries: readonly StateEntry[], serverName: ServerName): [StateEntry[], StateEntry[]] {
  const isOurs = ({ type, stateKey }: StateEntry): boolean =>
    type === 'm.room.member' && stateKey.endsWith(`:${serverName}`);
  return [entries.filter(isOurs), entries.filter((entry) => !isOurs(entry))];
}

function toRow({ nid, type, stateKey, sender, content }: StateEntry): ImportedState {
  return {
    nid,
    type,
    stateKey,
    sender,
    membership: type === 'm.room.member' ? (membershipIn(content) ?? 'leave') : undefined,
  };
}
