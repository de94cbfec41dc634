/**
 * Rooms as the rest of the server uses them: load, send, create, read. It gathers outside the turn, decides inside, and
 * commits through the one committer; what is committed it hands to the room before any other follower hears of it.
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import { createRoomId, type EventId, type RoomId, type ServerName } from '../protocol/ids.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { listTimeline, loadEventsById, type TimelineEvent, type TimelineRange } from '../storage/events.ts';
import { wholeRoomStream } from '../storage/partial-rooms.ts';
import { type PduRow, pduStream } from '../storage/pdu-stream.ts';
import { insertPendingRedaction } from '../storage/received-events.ts';
import {
  insertRoom,
  listTransactions,
  loadTransaction,
  NIDS_PER_BLOCK,
  reserveEventNids,
  reserveSnapshotNids,
} from '../storage/rooms.ts';
import { listStateEntries, loadStateAt } from '../storage/state.ts';
import { type StateChangeRow, stateChangeStream } from '../storage/state-change-stream.ts';
import type { Positioned } from '../storage/stream-table.ts';
import type { CommittedBatch } from '../streams/batch.ts';
import type { Committer, CommitUnit, Fact } from '../streams/committer.ts';
import type { Hub } from '../streams/hub.ts';
import { cosign } from './cosign.ts';
import { type DecideContext, type Decision, decideEvents } from './decide-events.ts';
import { loadNewest } from './newest-events.ts';
import { createNidSource } from './nid-source.ts';
import { MAX_TRANSACTIONS_PER_DEVICE, RetiredError, RoomActor, type Turn } from './room-actor.ts';
import { loadChain, loadRoomStarts } from './room-loader.ts';
import { createRoomRegistry, type RoomRegistry } from './room-registry.ts';
import { emptySnapshot, type RoomSnapshot } from './room-snapshot.ts';
import type { RoomWriting } from './room-writing.ts';
import type {
  CreateRoomRequest,
  RoomEngine,
  SendRequest,
  SentEvent,
  StateEntries,
  StateEntriesWanted,
} from './types.ts';
import { createWholeRooms } from './whole-rooms.ts';

export interface RoomEngineOptions {
  readonly database: Database;
  readonly committer: Pick<Committer, 'commit'>;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  /** Bound on the rooms kept in memory, by estimate. */
  readonly maxRoomBytes: number;
}

/** How often a send starts over because its room was dropped from memory meanwhile. */
const MAX_TURN_ATTEMPTS = 5;

export interface WritableRoomEngine extends RoomEngine, Disposable {
  /** For the parts of the engine that write what other servers sent. */
  readonly writing: RoomWriting;
}

export function createRoomEngine(options: RoomEngineOptions): WritableRoomEngine {
  const registry = createRoomRegistry({
    loadStarts: (roomIds) => loadRoomStarts(options, roomIds),
    maxBytes: options.maxRoomBytes,
  });
  const writer = createWriter(options, registry);
  const reader = createReader(options, registry);
  const whole = createWholeRooms({ ...options, loadSnapshot: reader.loadSnapshot });
  const following = options.hub.follow((batch) => {
    writer.onCommitted(batch);
    for (const { row } of batch.rowsOf(wholeRoomStream)) whole.wake(row.roomId);
  });
  return {
    ...reader,
    loadWhole: whole.load,
    send: writer.send,
    createRoom: writer.createRoom,
    dropRoom: writer.dropRoom,
    writing: writer.writing,
    [Symbol.dispose]() {
      following[Symbol.dispose]();
      whole[Symbol.dispose]();
    },
  };
}

interface Writer {
  send(request: SendRequest): Promise<readonly SentEvent[]>;
  createRoom(request: CreateRoomRequest): Promise<RoomSnapshot>;
  dropRoom: RoomEngine['dropRoom'];
  readonly writing: RoomWriting;
  onCommitted(batch: CommittedBatch): void;
}

function createWriter(options: RoomEngineOptions, registry: RoomRegistry): Writer {
  const { database, committer, clock, random } = options;
  const eventNids = createNidSource({ reserveBlock: () => reserveEventNids(database), blockSize: NIDS_PER_BLOCK });
  const snapshotNids = createNidSource({
    reserveBlock: () => reserveSnapshotNids(database),
    blockSize: NIDS_PER_BLOCK,
  });
  const creating = new Map<RoomId, RoomActor>();
  let lastCreatedAt = 0;
  /** No two alike: the hash of a create event names its room, so equal ones in one millisecond would be one room. */
  const nextCreationTime = (): number => {
    lastCreatedAt = Math.max(clock.now(), lastCreatedAt + 1);
    return lastCreatedAt;
  };

  const createContext = (request: Pick<DecideContext, 'transaction' | 'redacted'>): DecideContext => ({
    serverName: options.serverName,
    key: options.signingKey,
    random,
    now: clock.now(),
    eventNids,
    snapshotNids,
    ...request,
  });

  /** The decision is in the room's head when this returns; the promise inside resolves after COMMIT. */
  async function decideInTurn(turn: Turn, request: SendRequest, redacted: TimelineEvent | undefined): Promise<Pending> {
    const templates = request.decide(turn.head);
    const { stateNid } = turn.head.parts;
    const changesState = templates.some(({ stateKey }) => stateKey !== undefined);
    if (changesState && turn.chain === undefined && stateNid !== null)
      turn.setChain(await loadChain(database, stateNid));
    const context = createContext({ transaction: request.transaction, redacted });
    const decision = await decideEvents({ head: turn.head, chain: turn.chain }, templates, context);
    turn.advance(decision.events, decision.chain);
    const { redacts } = request;
    const isPending = redacts !== undefined && redacted === undefined;
    return commit(turn.actor, decision, isPending ? alsoPending(decision, redacts) : undefined);
  }

  async function commitUnit(actor: RoomActor, unit: Omit<CommitUnit, 'chain'>): Promise<void> {
    try {
      await committer.commit({ ...unit, chain: actor });
    } catch (cause) {
      registry.drop(actor);
      throw cause;
    }
  }

  function commit(actor: RoomActor, decision: Decision, also: CommitUnit['also']): Pending {
    const facts: Fact[] = decision.events.map(({ row }) => ({ table: pduStream, row }) as Fact);
    const sent = decision.events.map(({ nid, row }) => ({ nid, eventId: row.stored.event.eventId }));
    return { committed: commitUnit(actor, { facts, also }).then(() => sent) };
  }

  /** Starts over where the room was dropped from memory meanwhile. */
  async function inTurn<T>(roomId: RoomId, work: (turn: Turn) => Promise<T>): Promise<T | undefined> {
    for (let attempt = 1; ; attempt++) {
      const actor = (await registry.load([roomId])).get(roomId);
      if (actor === undefined) return undefined;
      try {
        return await actor.turn(work);
      } catch (cause) {
        if (!(cause instanceof RetiredError) || attempt >= MAX_TURN_ATTEMPTS) throw cause;
      }
    }
  }

  async function found(actor: RoomActor, work: () => Promise<unknown>): Promise<void> {
    creating.set(actor.roomId, actor);
    try {
      await work();
    } finally {
      creating.delete(actor.roomId);
    }
  }

  async function sendOnce(request: SendRequest, redacted: TimelineEvent | undefined): Promise<readonly SentEvent[]> {
    for (let attempt = 1; ; attempt++) {
      const actor = await loadActor(registry, request.roomId);
      try {
        const { committed } = await actor.turn((turn) => decideInTurn(turn, request, redacted));
        return await committed;
      } catch (cause) {
        if (!(cause instanceof RetiredError) || attempt >= MAX_TURN_ATTEMPTS) throw cause;
      }
    }
  }

  async function once(
    actor: RoomActor,
    transaction: SendRequest['transaction'],
    send: () => Promise<readonly SentEvent[]>,
  ): Promise<readonly SentEvent[]> {
    if (transaction === undefined) return send();
    const of = { roomId: actor.roomId, userId: transaction.userId, deviceId: transaction.deviceId };
    return actor.once(transaction, {
      load: () => listTransactions(database, of, MAX_TRANSACTIONS_PER_DEVICE),
      // A transaction id older than those in memory fails on its key: then the database knows the answer.
      send: () =>
        send().catch(async (cause: unknown) => {
          const known = cause instanceof MatrixError ? undefined : await loadTransaction(database, of, transaction);
          if (known === undefined) throw cause;
          return [known];
        }),
    });
  }

  return {
    async send(request) {
      const actor = await loadActor(registry, request.roomId);
      const redacted = request.redacts === undefined ? undefined : await findEvent(options, actor, request.redacts);
      return once(actor, request.transaction, () => sendOnce(request, redacted));
    },

    async createRoom(request) {
      const { version, creator } = request;
      const content = {
        ...request.creationContent,
        room_version: version.id,
        ...(version.creatorIsSender ? {} : { creator }),
      };
      const provisional = createRoomId(random, options.serverName);
      const originServerTs = nextCreationTime();
      const create = { type: 'm.room.create', sender: creator, stateKey: '', content, originServerTs };
      const context = createContext({ transaction: undefined, redacted: undefined });
      const first = await decideEvents(
        { head: emptySnapshot({ roomId: provisional, version }), chain: [] },
        [create],
        context,
      );
      const head = first.events.at(-1)?.snapshot;
      if (head === undefined) throw new Error('deciding one event gave none');
      const rest = await decideEvents({ head, chain: first.chain }, request.events(head.roomId), context);
      const events = await cosign([...first.events, ...rest.events], request.cosign);
      const decision = { events, chain: rest.chain };
      const actor = new RoomActor({ snapshot: head, lastPosition: 0, chain: undefined });
      await actor.turn(async (turn) => turn.advance(decision.events, decision.chain));
      const room = { roomId: head.roomId, version, creator, createdAt: context.now, isPublic: request.isPublic };
      const also = (tx: Transaction) => Promise.all([insertRoom(tx, room), request.also?.(tx, head.roomId)]);
      await found(actor, () => commit(actor, decision, also).committed);
      return actor.committed;
    },

    async dropRoom(roomId, work) {
      const isGone = await inTurn(roomId, async (turn) => {
        // Behind all that the room has queued, since units of one chain are committed in order.
        await committer.commit({ facts: [], chain: turn.actor });
        const isDropped = await work(turn.head);
        if (isDropped) await forget(registry, turn.actor);
        return isDropped;
      });
      return isGone ?? work(undefined);
    },

    writing: {
      eventNids,
      snapshotNids,
      once: async (roomId, transaction, send) => once(await loadActor(registry, roomId), transaction, send),
      turn: inTurn,
      commit: commitUnit,
      found,
    },

    onCommitted(batch) {
      const changes = batch.rowsOf(stateChangeStream);
      const steps = batch.rowsOf(pduStream).map((row) => ({ position: row.position, apply: () => onEvent(row) }));
      if (changes.length > 0) {
        const onChange = (change: Positioned<StateChangeRow>): void =>
          registry.get(change.row.roomId)?.onStateChanged(change);
        steps.push(...changes.map((change) => ({ position: change.position, apply: () => onChange(change) })));
        steps.sort((a, b) => a.position - b.position);
      }
      for (const step of steps) step.apply();
      // What is in memory is not how they are now.
      for (const { row } of batch.rowsOf(wholeRoomStream)) registry.renew(row.roomId);
    },
  };

  function onEvent(committed: Positioned<PduRow>): void {
    const { roomId } = committed.row.head;
    const created = creating.get(roomId);
    if (created !== undefined && registry.get(roomId) === undefined) registry.add(created);
    registry.get(roomId)?.onCommitted(committed);
  }
}

/** A redaction of an event that we lack waits for it. */
function alsoPending({ events }: Decision, redacts: EventId): NonNullable<CommitUnit['also']> {
  const pending = events.map(({ nid, row }) => ({ roomId: row.head.roomId, redacts, redactionNid: nid }));
  return (tx) => Promise.all(pending.map((one) => insertPendingRedaction(tx, one)));
}

interface Pending {
  readonly committed: Promise<readonly SentEvent[]>;
}

/** Whoever reads the room just now may bring it back once more from what was there before. */
async function forget(registry: RoomRegistry, actor: RoomActor): Promise<void> {
  registry.drop(actor);
  const again = (await registry.load([actor.roomId])).get(actor.roomId);
  if (again !== undefined) registry.drop(again);
}

type Reader = Omit<RoomEngine, 'send' | 'createRoom' | 'dropRoom' | 'loadWhole'>;

function createReader(options: RoomEngineOptions, registry: RoomRegistry): Reader {
  const { database } = options;
  return {
    getSnapshot: (roomId) => registry.get(roomId)?.committed,
    async loadSnapshot(roomId) {
      return (await registry.load([roomId])).get(roomId)?.committed;
    },
    async loadSnapshots(roomIds) {
      const actors = await registry.load(roomIds);
      return new Map([...actors].map(([roomId, actor]) => [roomId, actor.committed]));
    },
    getRecent: (roomId, after) => registry.get(roomId)?.tail.after(after),
    async loadTimeline(range) {
      const tail = registry.get(range.roomId)?.tail;
      const recent = tail?.read(range);
      if (recent !== undefined) return recent;
      return tail === undefined ? listTimeline(database, range) : readThrough(options, tail, range);
    },
    loadNewest: (ranges, limit) => loadNewest({ database, registry }, ranges, limit),
    async loadEvent(roomId, eventId) {
      const actor = (await registry.load([roomId])).get(roomId);
      return actor === undefined ? undefined : findEvent(options, actor, eventId);
    },
    async loadStateAt(roomId, snapshotNid) {
      const actor = await loadActor(registry, roomId);
      const { committed } = actor;
      if (committed.parts.stateNid === snapshotNid) return [...committed.state()];
      return loadStateAt(database, committed.version, snapshotNid);
    },
    loadStateEntries: (roomId, wanted) => loadEntries(options, registry, { roomId, wanted }),
  };
}

/** Reads what lies before the tail, all of which is in the range, and keeps the part next to it. */
async function readThrough(
  { database }: RoomEngineOptions,
  tail: RoomActor['tail'],
  range: TimelineRange,
): Promise<readonly TimelineEvent[]> {
  const isNewest = range.direction === 'backward' && range.before > tail.lastPosition;
  if (!isNewest) return listTimeline(database, range);
  const { from, size, lastPosition } = tail;
  const limit = range.limit - size;
  const older = await listTimeline(database, { ...range, limit, before: from + 1 });
  // Read only now: an event may have been redacted meanwhile, or the oldest may have fallen off.
  const recent = tail.after(from);
  if (tail.from !== from || recent === undefined) return listTimeline(database, range);
  const isAll = older.length < limit;
  // What came meanwhile may have redacted what was read.
  if (tail.lastPosition === lastPosition)
    tail.prepend(older.toReversed(), isAll ? range.after : (older.at(-1)?.position ?? from) - 1);
  return [...recent.toReversed(), ...older].slice(0, range.limit);
}

async function findEvent(
  { database }: RoomEngineOptions,
  actor: RoomActor,
  eventId: EventId,
): Promise<TimelineEvent | undefined> {
  const recent = actor.tail.find(eventId);
  if (recent !== undefined) return recent;
  const [event] = await loadEventsById(database, { roomId: actor.roomId, version: actor.committed.version }, [eventId]);
  return event;
}

async function loadActor(registry: RoomRegistry, roomId: RoomId): Promise<RoomActor> {
  const actor = registry.get(roomId) ?? (await registry.load([roomId])).get(roomId);
  if (actor === undefined) throw new MatrixError('M_NOT_FOUND', 'Unknown room');
  return actor;
}

async function loadEntries(
  { database }: RoomEngineOptions,
  registry: RoomRegistry,
  { roomId, wanted }: { readonly roomId: RoomId; readonly wanted: StateEntriesWanted },
): Promise<StateEntries> {
  const { committed } = await loadActor(registry, roomId);
  const { stateNid } = committed.parts;
  const cold = wanted.snapshotNids.filter((nid) => nid !== stateNid);
  const entries =
    cold.length === 0
      ? []
      : await listStateEntries(database, { roomId, version: committed.version, snapshotNids: cold, keys: wanted.keys });
  const found = new Map(
    entries.map((entry) => [`${entry.snapshotNid}\u0000${entry.type}\u0000${entry.stateKey}`, entry]),
  );
  return {
    get: (snapshotNid, type, stateKey) =>
      snapshotNid === stateNid
        ? committed.get(type, stateKey)
        : found.get(`${snapshotNid}\u0000${type}\u0000${stateKey}`),
  };
}
