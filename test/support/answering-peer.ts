/**
 * A scripted server that gives a right answer to everything that ours asks of others: it is in rooms of its own and of
 * ours, publishes them, knows its users, has media. What it answers can be changed on the way out.
 */
import type { IncomingMessage } from 'node:http';
import { createEvent } from '../../src/protocol/event.ts';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import type { JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { getRoomVersion } from '../../src/protocol/room-version.ts';
import { countersignEvent } from '../../src/protocol/sign-event.ts';
import { authChainOf } from '../../src/protocol/state-resolution/index.ts';
import type { TestAuthority } from './certificates.ts';
import { versionOf } from './engine.ts';
import { type ScriptedServer, startScriptedServer } from './federation.ts';
import { at, listAt } from './json.ts';
import { type RawAnswer, writeAnswer } from './mangle.ts';
import { RemoteRoom, RemoteServer } from './remote-room.ts';

const JSON_HEADERS = { 'content-type': 'application/json' };

let rooms = 0;

export class AnsweringPeer implements AsyncDisposable {
  readonly server: ScriptedServer;
  readonly remote: RemoteServer;
  readonly eve: UserId;
  readonly rooms = new Map<string, RemoteRoom>();
  readonly #joins = new Map<string, Pdu>();
  /** The first versions of `/send_join` and `/send_leave` only. */
  isOld = false;
  change: (path: string, answer: RawAnswer) => RawAnswer = (_path, answer) => answer;

  constructor(server: ScriptedServer) {
    this.server = server;
    this.remote = new RemoteServer(server.serverName, server.signingKey);
    this.eve = this.remote.user('eve');
    server.handle = (request, response) => {
      const path = request.url ?? '';
      this.#answer(request, path).then(
        (answer) => writeAnswer(response, this.change(path, answer)),
        (cause: unknown) => response.destroy(new Error('failed', { cause })),
      );
    };
  }

  static async start(authority: TestAuthority): Promise<AnsweringPeer> {
    return new AnsweringPeer(await startScriptedServer(authority));
  }

  /** A room of its own with some history. */
  createRoom(version: string, joinRule = 'public'): RemoteRoom {
    rooms += 1;
    const { eve } = this;
    const roomId = `!room${rooms}:${this.remote.name}` as RoomId;
    const room = new RemoteRoom(this.remote, { roomId, version: versionOf(version) });
    const create = { room_version: version, creator: eve };
    room.add({ type: 'm.room.create', sender: eve, stateKey: '', content: create, prev: [] });
    room.member(eve, 'join');
    for (const [type, content] of [
      ['m.room.power_levels', { users: { [eve]: 100 } }],
      ['m.room.join_rules', { join_rule: joinRule }],
      ['m.room.history_visibility', { history_visibility: 'shared' }],
      ['m.room.name', { name: 'Lair' }],
    ] as const) {
      room.add({ type, sender: eve, stateKey: '', content });
    }
    for (let index = 0; index < 5; index++) room.message(eve, `message ${index}`);
    this.rooms.set(roomId, room);
    return room;
  }

  /** Takes the join that it was sent last into its own graph. */
  learnJoin(room: RemoteRoom): void {
    const pdu = this.#joins.get(room.roomId);
    if (pdu !== undefined) room.learn({ ...createEvent(pdu, room.version), roomId: room.roomId });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }

  async #answer(request: IncomingMessage, path: string): Promise<RawAnswer> {
    const text = (await request.toArray()).join('');
    const url = new URL(path, 'https://peer');
    const parts = url.pathname.split('/').map(decodeURIComponent);
    const [, , , version = '', endpoint = ''] = parts;
    const body: unknown = text === '' ? {} : JSON.parse(text);
    const asked: Asked = { url, parts, version, body };
    const answer = path.startsWith('/_matrix/key/')
      ? this.server.keyDocument()
      : await this.#answers[endpoint]?.call(this, asked);
    if (Buffer.isBuffer(answer)) return { status: 200, headers: MEDIA_HEADERS, body: answer };
    if (answer === undefined) return { status: 404, headers: JSON_HEADERS, body: '{"errcode":"M_UNRECOGNIZED"}' };
    return { status: 200, headers: JSON_HEADERS, body: JSON.stringify(answer) };
  }

  readonly #answers: Readonly<Record<string, (asked: Asked) => unknown>> = {
    send: () => ({ pdus: {} }),
    query: ({ parts }) =>
      parts[5] === 'profile'
        ? { displayname: 'Eve', avatar_url: 'mxc://x/y' }
        : { room_id: `!room1:${this.remote.name}`, servers: [this.remote.name] },
    publicRooms: () => ({ chunk: [this.#publicRoom('!room1')], next_batch: 'n', total_room_count_estimate: 2 }),
    hierarchy: ({ parts }) => ({
      room: { ...this.#publicRoom(parts[5] ?? ''), room_type: 'm.space', children_state: [this.#child('!a')] },
      children: [{ ...this.#publicRoom('!a'), children_state: [] }],
      inaccessible_children: ['!b:x'],
    }),
    timestamp_to_event: ({ parts }) => ({
      event_id: this.rooms.get(parts[5] ?? '')?.newest,
      origin_server_ts: 1_700_000_000_000,
    }),
    invite: ({ body }) => this.#signInvite(body as JsonObject),
    make_join: (asked) => this.#template(asked, 'join'),
    make_knock: (asked) => this.#template(asked, 'knock'),
    make_leave: (asked) => this.#template(asked, 'leave'),
    send_join: (asked) => this.#sendJoin(asked),
    send_knock: ({ parts }) => ({
      knock_room_state: [...(this.#stateOf(parts[5])?.values() ?? [])].map(({ pdu }) => pdu),
    }),
    send_leave: ({ version }) => (version === 'v1' ? [200, {}] : this.isOld ? undefined : {}),
    media: () => MEDIA,
    get_missing_events: ({ parts, body }) => this.#missing(parts[5], body),
    state_ids: async ({ parts, url }) => {
      const eventId = (url.searchParams.get('event_id') ?? '') as EventId;
      const answers = this.rooms.get(parts[5] ?? '')?.answers();
      const ids = await answers?.fetchStateIds({ server: this.remote.name, roomId: parts[5] as RoomId, eventId });
      return ids && { pdu_ids: ids.stateIds, auth_chain_ids: ids.authChainIds };
    },
    event: ({ parts }) => {
      const found = [...this.rooms.values()].map(({ events }) => events.get(parts[5] as EventId)).find(Boolean);
      return found && { origin: this.remote.name, origin_server_ts: 1, pdus: [found.pdu] };
    },
    backfill: async ({ parts, url }) => {
      const from = url.searchParams.getAll('v') as EventId[];
      const question = { server: this.remote.name, roomId: parts[5] as RoomId, from, limit: 20 };
      const pdus = await this.rooms
        .get(parts[5] ?? '')
        ?.answers()
        .fetchBackfill(question);
      return pdus && { origin: this.remote.name, origin_server_ts: 1, pdus };
    },
  };

  #publicRoom(roomId: string): JsonObject {
    return {
      room_id: roomId.includes(':') ? roomId : `${roomId}:${this.remote.name}`,
      name: 'Lair',
      num_joined_members: 1,
      world_readable: true,
      guest_can_join: false,
      join_rule: 'public',
    };
  }

  #child(roomId: string): JsonObject {
    const stateKey = `${roomId}:${this.remote.name}`;
    const content = { via: [this.remote.name] };
    return { type: 'm.space.child', state_key: stateKey, sender: this.eve, origin_server_ts: 1, content };
  }

  #signInvite(body: JsonObject): unknown {
    const version = getRoomVersion(String(body['room_version']));
    if (version === undefined) return undefined;
    const { name: serverName, key } = this.remote;
    return { event: countersignEvent(body['event'] as Pdu, version, { serverName, key }) };
  }

  #template({ parts }: Asked, membership: string): unknown {
    const room = this.rooms.get(parts[5] ?? '');
    const userId = (parts[6] ?? '') as UserId;
    if (room === undefined) return undefined;
    const { pdu } = room.make({ type: 'm.room.member', sender: userId, stateKey: userId, content: { membership } });
    const { hashes: _hashes, signatures: _signatures, ...event } = pdu;
    return { room_version: room.version.id, event };
  }

  #stateOf(roomId = '') {
    const room = this.rooms.get(roomId);
    return room?.stateAfter(room.newest);
  }

  #sendJoin({ parts, version, body }: Asked): unknown {
    const room = this.rooms.get(parts[5] ?? '');
    const state = [...(this.#stateOf(parts[5])?.values() ?? [])];
    if (room === undefined || (this.isOld && version === 'v2')) return undefined;
    this.#joins.set(room.roomId, body as Pdu);
    const ids = state.map(({ eventId }) => eventId);
    const chain = [...authChainOf(ids, (id) => room.events.get(id))].flatMap((id) => room.events.get(id)?.pdu ?? []);
    const answer = { origin: this.remote.name, state: state.map(({ pdu }) => pdu), auth_chain: chain, event: body };
    return version === 'v1' ? [200, answer] : { ...answer, members_omitted: false };
  }

  async #missing(roomId: string | undefined, body: unknown): Promise<unknown> {
    const [earliest = [], latest = []] = ['earliest_events', 'latest_events'].map(
      (key) => listAt(body, key) as EventId[],
    );
    const question = { server: this.remote.name, roomId: roomId as RoomId, earliest, latest };
    const answers = this.rooms.get(roomId ?? '')?.answers();
    const events = await answers?.fetchMissingEvents({ ...question, limit: Number(at(body, 'limit')) });
    return events && { events };
  }
}

interface Asked {
  readonly url: URL;
  readonly parts: readonly string[];
  readonly version: string;
  readonly body: unknown;
}

const MEDIA_HEADERS = { 'content-type': 'multipart/mixed; boundary=b' };
const MEDIA = Buffer.from(
  '--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\n\r\ncontent\r\n--b--\r\n',
);
