/**
 * What other servers may read of our rooms: single events, the state at one, auth chains, and history. Each answer is for a
 * server that is in the room now, of events of that very room, and bounded; it costs a fixed number of statements. An
 * event that we do not have, one of another room and one that was rejected or soft-failed are all the same: not there.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-events
 */
import { MatrixError } from '../protocol/errors.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Database } from '../storage/database.ts';
import { type KnownEvent, listNewestUpTo, loadAuthChain, loadKnownEvents } from '../storage/received-events.ts';
import { loadRoomOfEvent } from '../storage/rooms.ts';
import { loadStateNids } from '../storage/state.ts';
import { createServerMembers } from './local-members.ts';
import { createRoomAcls } from './room-acls.ts';
import { loadNearest, type TimedEventId, type TimeWanted } from './serve-by-time.ts';
import { loadServedIds, type OpenedState, openServedState, type StateIds } from './serve-state.ts';
import { type ReadingServer, showToServer } from './server-visibility.ts';
import type { RoomEngine } from './types.ts';

/** Of one answer with events. */
const MAX_EVENTS = 100;
/** How far back from the events asked for their ancestors are looked for, in events of the room. */
const MAX_WINDOW = 1_000;
/** Events that one question may name. */
const MAX_NAMED = 50;

/** Undefined: the room or the event is not there for this server. */
type Answer<T> = Promise<T | undefined>;

export interface PeerReader {
  /** Whether the server is in the room, and the room's access control list lets it be. */
  isReadable(serverName: ServerName, roomId: RoomId): Promise<boolean>;
  loadEvent(serverName: ServerName, eventId: EventId): Answer<{ readonly roomId: RoomId; readonly pdu: Pdu }>;
  /** The state before the event, with its auth chain. */
  loadState(at: RoomEvent): Answer<{ readonly pdus: readonly Pdu[]; readonly authChain: readonly Pdu[] }>;
  /** The same as JSON, read while it is written. */
  openState(at: RoomEvent): Answer<OpenedState>;
  loadStateIds(at: RoomEvent): Answer<StateIds>;
  loadAuthChain(at: RoomEvent): Answer<readonly Pdu[]>;
  /** Ancestors of `latest` that are neither `earliest` nor theirs, oldest first. */
  loadMissingEvents(question: MissingEvents): Answer<readonly Pdu[]>;
  /** The events and what lies before them, newest first. */
  loadBackfill(question: Backfill): Answer<readonly Pdu[]>;
  /** The event nearest to a time, of those that the server may see. */
  loadEventAtTime(question: AtTime): Answer<TimedEventId>;
}

export interface RoomEvent {
  readonly serverName: ServerName;
  readonly roomId: RoomId;
  readonly eventId: EventId;
}

export interface MissingEvents extends Omit<RoomEvent, 'eventId'> {
  readonly earliest: readonly EventId[];
  readonly latest: readonly EventId[];
  readonly limit: number;
  readonly minDepth: number;
}

export interface Backfill extends Omit<RoomEvent, 'eventId'> {
  readonly from: readonly EventId[];
  readonly limit: number;
}

export interface AtTime extends Omit<RoomEvent, 'eventId'>, TimeWanted {}

export interface PeerReaderOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
}

export function createPeerReader(options: PeerReaderOptions): PeerReader {
  const { database } = options;
  const isAllowed = createRoomAcls();
  const hasMemberOf = createServerMembers();

  async function findRoom(serverName: ServerName, roomId: RoomId): Promise<ReadingServer | undefined> {
    const snapshot = await options.engine.loadSnapshot(roomId);
    if (snapshot === undefined || !isAllowed(snapshot, serverName)) return undefined;
    if (!hasMemberOf(snapshot, serverName)) return undefined;
    return { serverName, roomId, version: snapshot.version };
  }

  async function findEvents(room: ReadingServer, eventIds: readonly EventId[]): Promise<readonly KnownEvent[]> {
    const found = await loadKnownEvents(database, room.version, eventIds.slice(0, MAX_NAMED));
    return found.filter((known) => isShareable(known) && known.event.roomId === room.roomId);
  }

  /** An event at which the state is known: of a room that lacks members nobody is told the state. */
  async function findPlaced(at: RoomEvent): Promise<PlacedEvent | undefined> {
    if ((await options.engine.loadSnapshot(at.roomId))?.isPartial === true) throw lacksMembers();
    const room = await findRoom(at.serverName, at.roomId);
    const [known] = room === undefined ? [] : await findEvents(room, [at.eventId]);
    return room === undefined || known === undefined || known.outlier ? undefined : { room, known };
  }

  async function findState(at: RoomEvent): Promise<StateOfEvent | undefined> {
    const placed = await findPlaced(at);
    if (placed === undefined) return undefined;
    const { room, known } = placed;
    const { stateBefore } = known;
    const nids = stateBefore === null ? new Map() : await loadStateNids(database, [stateBefore]);
    const stateNids: ReadonlySet<number> = nids.get(stateBefore ?? 0) ?? new Set();
    const chain = await loadAuthChain(database, room.version, [...stateNids]);
    return { room, state: chain.filter(({ nid }) => stateNids.has(nid)), authChain: citedBy(room, chain) };
  }

  return {
    isReadable: async (serverName, roomId) => (await findRoom(serverName, roomId)) !== undefined,

    async loadEvent(serverName, eventId) {
      const roomId = await loadRoomOfEvent(database, eventId);
      const room = roomId === undefined ? undefined : await findRoom(serverName, roomId);
      const found = room === undefined ? [] : await findEvents(room, [eventId]);
      const [pdu] = room === undefined ? [] : await showToServer(database, room, found);
      return pdu === undefined || room === undefined ? undefined : { roomId: room.roomId, pdu };
    },

    async loadState(at) {
      const found = await findState(at);
      if (found === undefined) return undefined;
      const { version } = found.room;
      return { pdus: found.state.map(toPdu(version)), authChain: found.authChain.map(toPdu(version)) };
    },

    async openState(at) {
      const placed = await findPlaced(at);
      return placed && openServedState(database, placed.room.version, placed.known);
    },

    async loadStateIds(at) {
      const placed = await findPlaced(at);
      return placed && loadServedIds(database, placed.known);
    },

    async loadAuthChain({ serverName, roomId, eventId }) {
      const room = await findRoom(serverName, roomId);
      const [known] = room === undefined ? [] : await findEvents(room, [eventId]);
      if (room === undefined || known === undefined) return undefined;
      const cited = await loadKnownEvents(database, room.version, known.event.authEvents);
      const chain = await loadAuthChain(
        database,
        room.version,
        cited.map(({ nid }) => nid),
      );
      return chain.filter(({ event }) => event.roomId === room.roomId).map(toPdu(room.version));
    },

    async loadMissingEvents({ serverName, roomId, earliest, latest, limit, minDepth }) {
      const room = await findRoom(serverName, roomId);
      if (room === undefined) return undefined;
      const roots = await findEvents(room, latest);
      const known = new Set<EventId>(earliest.slice(0, MAX_NAMED));
      const window = await loadWindow(database, room, roots);
      const starts = roots.flatMap(({ event }) => event.prevEvents);
      const ancestors = walkBack(window, { starts, known, limit: Math.min(limit, MAX_EVENTS) });
      const wanted = ancestors.filter(({ event }) => event.depth >= minDepth).reverse();
      return showToServer(database, room, wanted);
    },

    async loadBackfill({ serverName, roomId, from, limit }) {
      const room = await findRoom(serverName, roomId);
      if (room === undefined) return undefined;
      const roots = await findEvents(room, from);
      const window = await loadWindow(database, room, roots);
      const found = walkBack(window, {
        starts: roots.map(idOf),
        known: new Set(),
        limit: Math.min(limit, MAX_EVENTS),
      });
      return showToServer(database, room, found);
    },

    async loadEventAtTime({ serverName, roomId, at, direction }) {
      const room = await findRoom(serverName, roomId);
      return room && loadNearest(database, room, { at, direction });
    },
  };
}

function lacksMembers(): MatrixError {
  return new MatrixError('M_FORBIDDEN', 'This server does not know all members of the room yet');
}

interface PlacedEvent {
  readonly room: ReadingServer;
  readonly known: KnownEvent;
}

interface StateOfEvent {
  readonly room: ReadingServer;
  readonly state: readonly KnownEvent[];
  readonly authChain: readonly KnownEvent[];
}

/** The auth events of these: of the state itself only what others of it cite. */
function citedBy(room: ReadingServer, chain: readonly KnownEvent[]): readonly KnownEvent[] {
  const cited = new Set(chain.flatMap(({ event }) => event.authEvents));
  return chain.filter(({ event }) => cited.has(event.eventId) && event.roomId === room.roomId);
}

const idOf = ({ event }: KnownEvent): EventId => event.eventId;

const toPdu =
  (version: RoomVersion) =>
  ({ event, isRedacted }: KnownEvent): Pdu =>
    isRedacted ? redactPdu(event.pdu, version) : event.pdu;

function isShareable({ rejection, softFailed }: KnownEvent): boolean {
  return rejection === undefined && !softFailed;
}

/** The events of the room before the roots, newest first: by position, since ancestors stand before their descendants. */
async function loadWindow(
  database: Database,
  room: ReadingServer,
  roots: readonly KnownEvent[],
): Promise<readonly KnownEvent[]> {
  const positions = roots.map(({ position }) => position).filter((position) => position !== null);
  if (positions.length === 0) return [];
  return listNewestUpTo(database, room, { upTo: Math.max(...positions), limit: MAX_WINDOW });
}

interface Walk {
  readonly starts: readonly EventId[];
  readonly known: ReadonlySet<EventId>;
  readonly limit: number;
}

/** Breadth first, so that what is nearest comes into a bounded answer. */
function walkBack(window: readonly KnownEvent[], { starts, known, limit }: Walk): KnownEvent[] {
  const byId = new Map(window.map((one) => [one.event.eventId, one]));
  const seen = new Set(known);
  const found: KnownEvent[] = [];
  const open = [...starts];
  for (let index = 0; index < open.length && found.length < limit; index++) {
    const id = open[index];
    const one = id === undefined || seen.has(id) ? undefined : byId.get(id);
    if (id !== undefined) seen.add(id);
    if (one === undefined) continue;
    found.push(one);
    open.push(...one.event.prevEvents);
  }
  return found.sort((a, b) => (b.position ?? 0) - (a.position ?? 0));
}
