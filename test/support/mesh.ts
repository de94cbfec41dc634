/**
 * Several engines in one process, each on a database of its own, that exchange events as servers do: what one's users send
 * is pushed to the others, and what is missing is asked for. Links can be cut and healed; an engine can be restarted.
 */
import { buildEvent } from '../../src/engine/build-pdu.ts';
import { createRoomImporter } from '../../src/engine/import-room.ts';
import type { RemoteRooms } from '../../src/engine/ports.ts';
import { createReceiver } from '../../src/engine/receive-pdu.ts';
import { createResolutionRunner } from '../../src/engine/resolution-runner.ts';
import { createPeerReader, type PeerReader } from '../../src/engine/serve-peers.ts';
import { createStateResolver } from '../../src/engine/state-resolver.ts';
import type { EventTemplate } from '../../src/engine/types.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { KeyedQueue } from '../../src/lib/keyed-queue.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import { createTestEngine, type TestEngine, versionOf } from './engine.ts';
import { createNoPolicing, createVerifier } from './receiver.ts';

/** As many as one transaction may carry. */
const EVENTS_PER_PUSH = 50;

export class MeshServer {
  readonly name: ServerName;
  at: TestEngine;
  /** How far each other server has been told of a room, by `server room`. */
  readonly #told = new Map<string, number>();
  readonly #mesh: Mesh;
  #parts: ReturnType<MeshServer['wire']>;

  constructor(mesh: Mesh, at: TestEngine) {
    this.#mesh = mesh;
    this.name = at.serverName;
    this.at = at;
    this.#parts = this.wire();
  }

  user(localpart: string): UserId {
    return `@${localpart}:${this.name}` as UserId;
  }

  private wire() {
    const { engine, serverName, db } = this.at;
    const { database } = db;
    const { writing } = engine;
    const runner = createResolutionRunner();
    const resolver = createStateResolver({ database, snapshotNids: writing.snapshotNids, runner });
    const verifier = createVerifier(this.#mesh.keys);
    const remote = this.#mesh.remoteOf(this);
    const receiving = new KeyedQueue<RoomId>();
    const policing = createNoPolicing(serverName);
    const shared = { database, engine, resolver, policing, verifier, serverName, receiving };
    return {
      receiver: createReceiver({ ...shared, remote }),
      importer: createRoomImporter({ ...shared, eventNids: writing.eventNids, clock: systemClock }),
      peers: createPeerReader({ database, engine }),
    };
  }

  get peers(): PeerReader {
    return this.#parts.peers;
  }

  async restart(): Promise<void> {
    this.at = await this.at.restart();
    this.#parts = this.wire();
  }

  async send(roomId: RoomId, ...templates: readonly EventTemplate[]) {
    return this.at.engine.send({ roomId, decide: () => templates });
  }

  /** Joins the user to a room by way of a server that is in it: what /make_join and /send_join come to. */
  async join(userId: UserId, roomId: RoomId, via: MeshServer): Promise<void> {
    const resident = await via.at.engine.loadSnapshot(roomId);
    if (resident === undefined) throw new Error('the resident server does not know the room');
    const template = { type: 'm.room.member', sender: userId, stateKey: userId, content: { membership: 'join' } };
    const { signingKey: key, serverName } = this.at;
    const { event } = buildEvent(template, resident, { serverName, key, random: secureRandom, now: systemClock.now() });
    const origin = this.name;
    const [result] = await via.#parts.receiver.receive(roomId, { origin, pdus: [event.pdu] });
    if (result?.outcome !== 'accepted') throw new Error(`the join was ${result?.outcome}`);
    const state = await via.peers.loadState({ serverName: this.name, roomId, eventId: event.eventId });
    if (state === undefined) throw new Error('the resident server gives no state');
    const imported = await this.#parts.importer.importRoom({
      roomId,
      version: versionOf(resident.version.id),
      state: state.pdus,
      authChain: state.authChain,
      joinEvent: event.pdu,
      via: via.name,
      partial: undefined,
    });
    if (!imported.imported) throw new Error(imported.reason);
    // What was sent before is history to this server.
    for (const other of this.#mesh.servers) if (other !== this) other.skip(this, roomId);
  }

  /** Pushes what this server's users sent since the last time, where the link is up. */
  async push(to: MeshServer, roomId: RoomId): Promise<number> {
    if (this.#mesh.isCut(this, to)) return 0;
    const key = `${to.name} ${roomId}`;
    const snapshot = await this.at.engine.loadSnapshot(roomId);
    if (snapshot === undefined) return 0;
    const range = { roomId, version: snapshot.version, before: Number.MAX_SAFE_INTEGER, limit: 1_000 };
    const after = this.#told.get(key) ?? 0;
    const events = await this.at.engine.loadTimeline({ ...range, after, direction: 'forward' });
    const own = events.filter(({ event, isStateChange }) => {
      return isStateChange !== true && event.sender.endsWith(`:${this.name}`);
    });
    for (let from = 0; from < own.length; from += EVENTS_PER_PUSH) {
      const pdus = own.slice(from, from + EVENTS_PER_PUSH).map(({ event }) => event.pdu);
      await to.#parts.receiver.receive(roomId, { origin: this.name, pdus });
    }
    this.#told.set(key, events.at(-1)?.position ?? after);
    return own.length;
  }

  /** Forgets to tell the others of what was sent until now: they have to ask for it. */
  skip(to: MeshServer, roomId: RoomId): void {
    const { position } = this.at.committer;
    this.#told.set(`${to.name} ${roomId}`, position);
  }
}

export class Mesh implements AsyncDisposable {
  readonly servers: MeshServer[] = [];
  readonly keys = new Map<string, TestEngine['signingKey']>();
  readonly #cut = new Set<string>();

  async add(name: string): Promise<MeshServer> {
    const at = await createTestEngine(name as ServerName);
    this.keys.set(at.serverName, at.signingKey);
    const server = new MeshServer(this, at);
    this.servers.push(server);
    return server;
  }

  cut(a: MeshServer, b: MeshServer): void {
    this.#cut.add(linkOf(a, b));
  }

  heal(): void {
    this.#cut.clear();
  }

  isCut(a: MeshServer, b: MeshServer): boolean {
    return this.#cut.has(linkOf(a, b));
  }

  /** Pushes until nobody has anything new to tell. */
  async exchange(roomId: RoomId): Promise<void> {
    for (let told = 1; told > 0; ) {
      told = 0;
      for (const from of this.servers)
        for (const to of this.servers) if (from !== to) told += await from.push(to, roomId);
    }
  }

  remoteOf(asking: MeshServer): RemoteRooms {
    const ask = (name: ServerName): PeerReader => {
      const server = this.servers.find((one) => one.name === name);
      if (server === undefined || server === asking || this.isCut(server, asking)) throw new Error('unreachable');
      return server.peers;
    };
    const orFail = <T>(answer: T | undefined): T => {
      if (answer === undefined) throw new Error('forbidden');
      return answer;
    };
    const serverName = asking.name;
    return {
      fetchMissingEvents: async ({ server, ...question }) =>
        orFail(await ask(server).loadMissingEvents({ ...question, serverName, minDepth: 0 })),
      fetchStateIds: async ({ server, roomId, eventId }) =>
        orFail(await ask(server).loadStateIds({ serverName, roomId, eventId })),
      fetchState: async ({ server, roomId, eventId }) => {
        const { pdus, authChain } = orFail(await ask(server).loadState({ serverName, roomId, eventId }));
        return { state: pdus, authChain };
      },
      fetchEvent: async ({ server, eventId }) => (await ask(server).loadEvent(serverName, eventId))?.pdu,
      fetchBackfill: async ({ server, ...question }) =>
        orFail(await ask(server).loadBackfill({ ...question, serverName })),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { at } of this.servers) await at[Symbol.asyncDispose]();
  }
}

function linkOf(a: MeshServer, b: MeshServer): string {
  return [a.name, b.name].sort().join(' ');
}
