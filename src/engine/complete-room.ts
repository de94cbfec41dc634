/**
 * Makes a partial room whole: the state before the join is fetched, everything that came since is judged once more, and in
 * one transaction the room is as if it had been whole from the start. Readers then load it anew.
 *
 * Invariants: until that transaction nothing that readers of the room see has changed, and after a crash it is done again
 * from the start; nothing enters the room from other servers while its events are judged; local events that come meanwhile
 * are judged in the same turn in which the room becomes whole.
 */
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { loadEventsByNid, redactEvent } from '../storage/events.ts';
import {
  deleteLeftMembers,
  deleteRefused,
  type GraphNode,
  insertMissingMembers,
  listEventsSince,
  listMemberNids,
  loadPartialRoom,
  type PartialRoom,
  updateRejudged,
  updateWholeHead,
  wholeRoomStream,
} from '../storage/partial-rooms.ts';
import { type PduRow, pduStream } from '../storage/pdu-stream.ts';
import type { Fact } from '../streams/committer.ts';
import { startFetching } from './fetch-events.ts';
import { fetchState, type StateFetchParts } from './fetch-state.ts';
import { loadEntriesAt } from './load-state.ts';
import { toHead, toReplaced } from './place-event.ts';
import { createBatch, loadKnown, type ReceivedBatch, sortTopologically } from './received-batch.ts';
import { createReplay, type EnteredEvent, type Replay, type Replayed } from './replay-events.ts';
import type { Turn } from './room-actor.ts';
import { membershipIn, type RoomSnapshot, type StateEntry } from './room-snapshot.ts';
import type { RoomWriting } from './room-writing.ts';
import { toStateChangeFact } from './state-change-facts.ts';
import type { StateDifference } from './state-resolver.ts';
import type { RoomEngine } from './types.ts';

/** While the states at the ends are fetched, events with further ends may come. */
const MAX_ROUNDS = 5;
/** Bounds one statement. */
const ROWS_PER_INSERT = 2_000;

/** `unavailable`: this server gave no state that could be used. */
export type Completion = 'whole' | 'unavailable';

export interface RoomCompleter {
  /** With the help of one server. A room that is gone counts as whole. */
  complete(roomId: RoomId, server: ServerName): Promise<Completion>;
}

export interface RoomCompleterOptions extends StateFetchParts {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'> & { readonly writing: RoomWriting };
  readonly serverName: ServerName;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

export function createRoomCompleter(options: RoomCompleterOptions): RoomCompleter {
  return {
    async complete(roomId, server) {
      for (let round = 0; round < MAX_ROUNDS; round++) {
        const work = await startWork(options, roomId);
        if (work === undefined) return 'whole';
        if (!(await fetchEnds(options, work, server))) return 'unavailable';
        const isDone = await options.receiving.run(roomId, () => completeAlone(options, roomId));
        if (isDone) return 'whole';
      }
      return 'unavailable';
    },
  };
}

interface Work {
  readonly partial: PartialRoom;
  readonly snapshot: RoomSnapshot;
  readonly nodes: readonly GraphNode[];
  readonly batch: ReceivedBatch;
  /** What the events follow that is not among them. */
  readonly ends: readonly EventId[];
}

async function startWork({ database, engine }: RoomCompleterOptions, roomId: RoomId): Promise<Work | undefined> {
  const partial = await loadPartialRoom(database, roomId);
  const snapshot = await engine.loadSnapshot(roomId);
  if (partial === undefined || snapshot === undefined) return undefined;
  const nodes = await listEventsSince(database, { roomId, firstNid: partial.firstNid, after: 0 });
  const here = new Set(nodes.map(({ eventId }) => eventId));
  const ends = [...new Set(nodes.flatMap(({ prevEvents }) => prevEvents))].filter((id) => !here.has(id));
  const batch = createBatch(snapshot);
  await loadKnown(database, batch, ends);
  return { partial, snapshot, nodes, batch, ends };
}

function withoutState({ batch, ends }: Work): readonly EventId[] {
  return ends.filter((id) => (batch.known.get(id)?.stateAfter ?? null) === null);
}

async function fetchEnds(options: RoomCompleterOptions, work: Work, server: ServerName): Promise<boolean> {
  for (const eventId of withoutState(work)) {
    const fetching = startFetching(work, [server]);
    if (!(await fetchState(options, fetching, eventId))) return false;
  }
  return true;
}

/** False where something came meanwhile whose state is not known. */
async function completeAlone(options: RoomCompleterOptions, roomId: RoomId): Promise<boolean> {
  const { database, engine } = options;
  const work = await startWork(options, roomId);
  if (work === undefined) return true;
  if (withoutState(work).length > 0) return false;
  const replay = await startReplay(options, work);
  await replay.run(inOrder(work.nodes));
  const { base } = replay;
  await insertMembers(options, work.snapshot, base);
  const lastNid = work.nodes.at(-1)?.nid ?? 0;
  await engine.writing.turn(roomId, async (turn) => {
    // All that was decided is in the database before it is read.
    await engine.writing.commit(turn.actor, { facts: [] });
    const { firstNid } = work.partial;
    await replay.run(inOrder(await listEventsSince(database, { roomId, firstNid, after: lastNid })));
    await commitWhole(options, turn, { replayed: await replay.finish(), base });
  });
  return true;
}

interface StartedReplay extends Replay {
  /** The whole state before the join. */
  readonly base: RoomSnapshot;
}

async function startReplay(options: RoomCompleterOptions, work: Work): Promise<StartedReplay> {
  const { database, engine, resolver } = options;
  const { snapshot, partial, batch, nodes } = work;
  const { firstNid } = partial;
  const [join] = await loadEventsByNid(database, snapshot.version, [firstNid]);
  if (join?.stateBefore == null) throw new Error('the state before the join is not known');
  const given = await loadEntriesAt(database, snapshot.version, join.stateBefore);
  const outside = new Map(
    [...batch.known.values()].flatMap(({ event, stateAfter }) =>
      stateAfter === null ? [] : [[event.eventId, stateAfter] as const],
    ),
  );
  const { snapshotNids } = engine.writing;
  const first = { nid: firstNid, given };
  const replay = createReplay({ database, resolver, snapshotNids, room: snapshot, outside, first });
  const joinNode = nodes.find(({ nid }) => nid === firstNid);
  if (joinNode === undefined) throw new Error('the join is no event of the room');
  return { ...replay, base: await replay.loadBase(joinNode) };
}

function inOrder(nodes: readonly GraphNode[]): readonly GraphNode[] {
  const referring = nodes.map((node) => ({ event: { ...node, authEvents: [] }, node }));
  return sortTopologically(referring).map(({ node }) => node);
}

const isOf = (serverName: ServerName, { stateKey }: StateEntry): boolean =>
  serverNameOf(stateKey as UserId) === serverName;

/** Members of others that were there before anything came, and of whom nothing was heard since. */
function isSilent({ serverName }: RoomCompleterOptions, { head, base }: Heads, entry: StateEntry): boolean {
  const { type, stateKey, nid } = entry;
  if (type !== 'm.room.member' || isOf(serverName, entry)) return false;
  return head.get(type, stateKey) === undefined && base.get(type, stateKey)?.nid === nid;
}

interface Heads {
  readonly head: RoomSnapshot;
  readonly base: RoomSnapshot;
}

/** Beforehand, so that a large room does not hold up the commits of others. */
async function insertMembers(options: RoomCompleterOptions, head: RoomSnapshot, base: RoomSnapshot): Promise<void> {
  const { database } = options;
  const { roomId } = head;
  const silent = [...base.members()].filter((entry) => isSilent(options, { head, base }, entry));
  const known = new Set([...head.members(), ...silent].map(({ nid }) => nid));
  const left = (await listMemberNids(database, roomId)).filter((nid) => !known.has(nid));
  await deleteLeftMembers(database, roomId, left);
  for (let from = 0; from < silent.length; from += ROWS_PER_INSERT) {
    const members = silent.slice(from, from + ROWS_PER_INSERT).map(({ nid, stateKey, sender, content }) => {
      return { nid, stateKey, sender, membership: membershipIn(content) ?? 'leave' };
    });
    await database.transaction((tx) => insertMissingMembers(tx, roomId, members));
  }
}

interface Whole {
  readonly replayed: Replayed;
  readonly base: RoomSnapshot;
}

async function commitWhole(options: RoomCompleterOptions, turn: Turn, { replayed, base }: Whole): Promise<void> {
  const { engine } = options;
  const { head } = turn;
  const { rejudged, entered } = replayed;
  const extremities = replayed.extremities.length > 0 ? replayed.extremities : head.parts.extremities;
  const { stateNid } = replayed.current.parts;
  if (stateNid === null) throw new Error('a room has a state');
  const current = replayed.current.withHead({ extremities, stateNid, depth: head.parts.depth });
  const told = [...differing(head, current)].filter(
    ({ after }) => after === undefined || !isSilent(options, { head, base }, after),
  );
  const changes = await loadDifferences(options, current, told);
  const facts: Fact[] = [
    ...entered.map((one) => ({ table: pduStream, row: toRow(current, one) }) as Fact),
    ...changes.map((change) => toStateChangeFact(head.roomId, change)),
    { table: wholeRoomStream, row: { roomId: head.roomId } } as Fact,
  ];
  const baseNids = new Set([...base.members()].map(({ nid }) => nid));
  const enteredNids = entered.map(({ known }) => known.nid);
  await engine.writing.commit(turn.actor, {
    facts,
    also: (tx) =>
      Promise.all([
        updateRejudged(tx, rejudged),
        deleteRefused(tx, enteredNids),
        updateWholeHead(tx, {
          roomId: head.roomId,
          forwardExtremities: extremities.map(({ nid }) => nid),
          stateSnapshot: stateNid,
          introducedNids: [...head.members()].map(({ nid }) => nid).filter((nid) => baseNids.has(nid)),
        }),
      ]),
  });
}

interface Differing {
  readonly type: string;
  readonly stateKey: string;
  readonly before: StateEntry | undefined;
  readonly after: StateEntry | undefined;
}

function* differing(head: RoomSnapshot, current: RoomSnapshot): Generator<Differing> {
  for (const after of current.state()) {
    const { type, stateKey } = after;
    const before = head.get(type, stateKey);
    if (before?.nid !== after.nid) yield { type, stateKey, before, after };
  }
  for (const before of head.state()) {
    const { type, stateKey } = before;
    if (current.get(type, stateKey) === undefined) yield { type, stateKey, before, after: undefined };
  }
}

async function loadDifferences(
  { database }: RoomCompleterOptions,
  { version }: RoomSnapshot,
  differences: readonly Differing[],
): Promise<readonly StateDifference[]> {
  const nids = differences.flatMap(({ before, after }) => [before?.nid, after?.nid]).filter((nid) => nid !== undefined);
  const stored = new Map((await loadEventsByNid(database, version, nids)).map((event) => [event.nid, event]));
  const find = (entry: StateEntry | undefined) => (entry === undefined ? undefined : stored.get(entry.nid));
  return differences.map(({ type, stateKey, before, after }) => {
    return { type, stateKey, before: find(before), after: find(after) };
  });
}

/** It enters the stream now, as an event that came late. */
function toRow(current: RoomSnapshot, { known, authNids, stateBefore, stateAfter, replaced }: EnteredEvent): PduRow {
  const { nid, event, isRedacted } = known;
  const isState = event.stateKey !== undefined;
  return {
    stored: {
      nid,
      event: isRedacted ? redactEvent(event, current.version) : event,
      version: current.version,
      stateBefore,
      stateAfter,
      replaces: replaced === undefined ? undefined : toReplaced(replaced),
      redactedBecause: undefined,
      ...(isState ? { sidelined: true } : {}),
      transaction: undefined,
    },
    pduText: encodeCanonicalJson(event.pdu),
    replacesNid: replaced?.nid ?? null,
    state: undefined,
    head: toHead(current),
    transaction: undefined,
    redacts: undefined,
    authNids: isState ? authNids : undefined,
  };
}
