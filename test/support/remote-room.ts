/**
 * A scripted remote server: it signs events of its own users, keeps the graph of one room as it sees it, and makes forks,
 * gaps and forgeries on demand. It answers the engine's questions from that graph, as well as it is told to.
 */

import type { RemoteRooms } from '../../src/engine/ports.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { selectAuthEvents } from '../../src/protocol/auth-events.ts';
import { createEvent } from '../../src/protocol/event.ts';
import { referenceHash } from '../../src/protocol/hashes.ts';
import type { EventId, RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import type { Event, JsonObject, JsonValue, Pdu, StateEvent } from '../../src/protocol/pdu.ts';
import type { RoomVersion } from '../../src/protocol/room-version.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import { createSigningKey, type SigningKey } from '../../src/protocol/signing.ts';
import { authChainOf, stateKeyOf } from '../../src/protocol/state-resolution/index.ts';
import type { TestEngine } from './engine.ts';

export interface RemoteTemplate {
  readonly type: string;
  readonly sender: UserId;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  /** The newest event where it is not given. */
  readonly prev?: readonly EventId[];
  /** Instead of those that the selection gives. */
  readonly auth?: readonly EventId[];
  readonly depth?: number;
  readonly redacts?: EventId;
  /** Changes the signed PDU. */
  readonly forge?: (pdu: Pdu) => Pdu;
}

type State = ReadonlyMap<string, Event>;

export class RemoteServer {
  readonly name: ServerName;
  readonly key: SigningKey;

  constructor(name: string, key = createSigningKey(secureRandom.bytes(32), 'remote')) {
    this.name = name as ServerName;
    this.key = key;
  }

  user(localpart: string): UserId {
    return `@${localpart}:${this.name}` as UserId;
  }
}

export class RemoteRoom {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly events = new Map<EventId, Event>();
  readonly #server: RemoteServer;
  readonly #before = new Map<EventId, State>();
  readonly #after = new Map<EventId, State>();
  #newest: EventId | undefined;
  #clock = 1_700_000_000_000;

  constructor(server: RemoteServer, room: { readonly roomId: RoomId; readonly version: RoomVersion }) {
    this.#server = server;
    this.roomId = room.roomId;
    this.version = room.version;
  }

  /** What an engine has in its timeline, in order. */
  async learnFrom({ engine }: TestEngine): Promise<void> {
    const { roomId, version } = this;
    const range = { roomId, version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 10_000 };
    const timeline = await engine.loadTimeline({ ...range, direction: 'forward' });
    for (const { event } of timeline) if (!this.events.has(event.eventId)) this.learn(event);
  }

  learn(event: Event): Event {
    const before = this.#stateOver(event.prevEvents);
    this.events.set(event.eventId, event);
    this.#before.set(event.eventId, before);
    const after = new Map(before);
    if (event.stateKey !== undefined) after.set(stateKeyOf(event.type, event.stateKey), event);
    this.#after.set(event.eventId, after);
    this.#newest = event.eventId;
    return event;
  }

  /** An event that another server made. */
  learnPdu(pdu: JsonObject): Event {
    return this.learn(createEvent(pdu as Pdu, this.version));
  }

  /** An event that is there, and that this server's own state knows nothing of. */
  hide(event: Event): Event {
    const before = this.#stateOver(event.prevEvents);
    this.events.set(event.eventId, event);
    this.#before.set(event.eventId, before);
    this.#after.set(event.eventId, before);
    this.#newest = event.eventId;
    return event;
  }

  /** The state event that is current. */
  current(type: string, stateKey = ''): Event {
    const event = this.stateAfter(this.newest).get(stateKeyOf(type, stateKey));
    if (event === undefined) throw new Error(`the remote room has no ${type}`);
    return event;
  }

  get newest(): EventId {
    if (this.#newest === undefined) throw new Error('the remote room is empty');
    return this.#newest;
  }

  /** Makes an event without taking it into this server's own graph. */
  make(template: RemoteTemplate): Event {
    const { version } = this;
    const prev = template.prev ?? [this.newest];
    const state = this.#stateOver(prev);
    const view = { get: (type: string, key: string) => asState(state.get(stateKeyOf(type, key))) };
    const { type, sender, stateKey, content = {} } = template;
    const auth =
      template.auth ?? selectAuthEvents({ type, sender, stateKey, content }, view, version).map((one) => one.eventId);
    const depths = prev.map((id) => this.events.get(id)?.depth ?? 0);
    const isServerId = version.eventIds === 'server';
    const refer = (id: EventId): JsonValue => {
      const event = this.events.get(id);
      if (!isServerId) return id;
      return [id, event === undefined ? {} : { sha256: referenceHash(event.pdu, version) }];
    };
    const redacts = template.redacts;
    const body = {
      type,
      sender,
      room_id: this.roomId,
      origin_server_ts: this.#clock++,
      depth: template.depth ?? Math.max(0, ...depths) + 1,
      prev_events: prev.map(refer),
      auth_events: auth.map(refer),
      content: redacts !== undefined && version.redactsInContent ? { ...content, redacts } : content,
      ...(redacts !== undefined && !version.redactsInContent ? { redacts } : {}),
      ...(stateKey === undefined ? {} : { state_key: stateKey }),
      ...(isServerId ? { event_id: `$${secureRandom.alphanumeric(18)}:${this.#server.name}` } : {}),
    };
    const { pdu } = hashAndSignEvent(body, version, { serverName: this.#server.name, key: this.#server.key });
    return createEvent(template.forge?.(pdu) ?? pdu, version);
  }

  add(template: RemoteTemplate): Event {
    return this.learn(this.make(template));
  }

  message(sender: UserId, body: string, more: Partial<RemoteTemplate> = {}): Event {
    return this.add({ type: 'm.room.message', sender, content: { msgtype: 'm.text', body }, ...more });
  }

  member(userId: UserId, membership: string, more: Partial<RemoteTemplate> = {}): Event {
    return this.add({ type: 'm.room.member', sender: userId, stateKey: userId, content: { membership }, ...more });
  }

  stateAfter(eventId: EventId): State {
    return this.#after.get(eventId) ?? new Map();
  }

  /** Answers the engine's questions; `hidden` events are not given. */
  answers(hidden: ReadonlySet<string> = new Set()): RemoteRooms {
    const give = (id: EventId): JsonValue | undefined => (hidden.has(id) ? undefined : this.events.get(id)?.pdu);
    return {
      fetchMissingEvents: async ({ earliest, latest, limit }) => {
        const found: JsonValue[] = [];
        const open = latest.flatMap((id) => this.events.get(id)?.prevEvents ?? []);
        const seen = new Set<string>(earliest);
        for (let id = open.shift(); id !== undefined && found.length < limit; id = open.shift()) {
          const pdu = seen.has(id) ? undefined : give(id);
          seen.add(id);
          if (pdu === undefined) continue;
          found.push(pdu);
          open.push(...(this.events.get(id)?.prevEvents ?? []));
        }
        return found.reverse();
      },
      fetchStateIds: async ({ eventId }) => {
        const state = [...(this.#before.get(eventId) ?? new Map<string, Event>()).values()];
        if (!this.events.has(eventId)) throw new Error('unknown event');
        const stateIds = state.map((event) => event.eventId);
        return { stateIds, authChainIds: [...authChainOf(stateIds, (id) => this.events.get(id))] };
      },
      fetchState: async ({ eventId }) => {
        const ids = [...(this.#before.get(eventId) ?? new Map<string, Event>()).values()].map((event) => event.eventId);
        const chain = [...authChainOf(ids, (id) => this.events.get(id))];
        return { state: ids.flatMap((id) => give(id) ?? []), authChain: chain.flatMap((id) => give(id) ?? []) };
      },
      fetchEvent: async ({ eventId }) => give(eventId),
      fetchBackfill: async ({ from, limit }) => {
        const open = [...from];
        const found = new Map<string, JsonValue>();
        for (let id = open.shift(); id !== undefined && found.size < limit; id = open.shift()) {
          const pdu = found.has(id) ? undefined : give(id);
          if (pdu === undefined) continue;
          found.set(id, pdu);
          open.push(...(this.events.get(id)?.prevEvents ?? []));
        }
        return [...found.values()];
      },
    };
  }

  #stateOver(prev: readonly EventId[]): State {
    return new Map(prev.flatMap((id) => [...(this.#after.get(id) ?? [])]));
  }
}

function asState(event: Event | undefined): StateEvent | undefined {
  return event?.stateKey === undefined ? undefined : { ...event, stateKey: event.stateKey };
}
