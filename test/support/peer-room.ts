/**
 * A scripted server in a room of a whole one: it learns the room's graph, joins by sending an event of its own, and from
 * then on may ask. Requests are signed with its key.
 */
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createEvent } from '../../src/protocol/event.ts';
import type { EventId, RoomId } from '../../src/protocol/ids.ts';
import type { Event, JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { sql } from '../../src/storage/sql.ts';
import { versionOf } from './engine.ts';
import type { ScriptedServer, TestHomeserver } from './federation.ts';
import { at, listAt } from './json.ts';
import { RemoteRoom, RemoteServer } from './remote-room.ts';
import { askAs } from './signed-requests.ts';

let transactions = 0;

const handleFault = (cause: unknown): void => console.error(cause);

export class PeerRoom {
  readonly room: RemoteRoom;
  readonly remote: RemoteServer;
  readonly #peer: ScriptedServer;
  readonly #here: TestHomeserver;

  constructor(peer: ScriptedServer, here: TestHomeserver, room: { roomId: string; version: string }) {
    this.#peer = peer;
    this.#here = here;
    this.remote = new RemoteServer(peer.serverName, peer.signingKey);
    this.room = new RemoteRoom(this.remote, { roomId: room.roomId as RoomId, version: versionOf(room.version) });
  }

  /** Takes over what the homeserver has of the room. */
  async learn(): Promise<void> {
    const { room } = this;
    const rows = await this.#here.test.database.query(sql<{ pdu: string; event_id: EventId }>`
      select pdu, event_id from events where room_id = ${room.roomId} and position is not null order by position`);
    for (const { pdu, event_id } of rows) {
      if (!room.events.has(event_id)) {
        room.learn({ ...createEvent(JSON.parse(pdu) as Pdu, room.version), roomId: room.roomId });
      }
    }
  }

  async join(localpart: string): Promise<Event> {
    await this.learn();
    const event = this.room.member(this.remote.user(localpart), 'join');
    await this.send(event);
    return event;
  }

  /** Sends events, and waits until the homeserver has the last of them. */
  async send(...events: readonly Event[]): Promise<void> {
    const body = { origin: this.#peer.serverName, origin_server_ts: 1, pdus: events.map(({ pdu }) => pdu) };
    const path = `/_matrix/federation/v1/send/t${transactions++}`;
    const { status, body: answer } = await askAs(this.#peer, this.#here, { method: 'PUT', path, body });
    if (status !== 200) throw new Error(`send: ${status} ${JSON.stringify(answer)}`);
    const last = events.at(-1)?.eventId ?? '';
    for (let waited = 0; waited < 5_000; waited += 20) {
      const rows = await this.#here.test.database.query(sql<{ one: number }>`
        select 1 as one from events where event_id = ${last}`);
      if (rows.length > 0) return;
      await sleep(20);
    }
    throw new Error(`the event was not taken in: ${JSON.stringify(at(answer, 'pdus'))}`);
  }

  /** Lets the scripted server answer for the room as it knows it; `change` may put something else in the place. */
  serve(change: (path: string, answer: JsonObject) => JsonObject | number = (_path, answer) => answer): void {
    const { handle } = this.#peer;
    this.#peer.handle = (request, response) => {
      const path = request.url ?? '';
      if (!path.startsWith('/_matrix/federation/v1/')) return handle(request, response);
      this.#answer(request).then((answer) => {
        const changed = answer === undefined ? 404 : change(path, answer);
        const status = typeof changed === 'number' ? changed : 200;
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(typeof changed === 'number' ? { errcode: 'M_UNKNOWN', error: '' } : changed));
      }, handleFault);
      return undefined;
    };
  }

  async #answer(request: IncomingMessage): Promise<JsonObject | undefined> {
    const url = new URL(request.url ?? '', 'https://peer');
    const [, , , , endpoint = '', last = ''] = url.pathname.split('/').map(decodeURIComponent);
    const answers = this.room.answers();
    const { roomId } = this.room;
    const server = this.remote.name;
    const id = (text: string): EventId => text as EventId;
    if (endpoint === 'get_missing_events') {
      const body: unknown = JSON.parse((await request.toArray()).join(''));
      const [earliest, latest] = ['earliest_events', 'latest_events'].map((key) =>
        listAt(body, key).map(String).map(id),
      );
      const limit = Number(at(body, 'limit'));
      const question = { server, roomId, earliest: earliest ?? [], latest: latest ?? [], limit };
      return { events: await answers.fetchMissingEvents(question) };
    }
    if (endpoint === 'state_ids') {
      const ids = await answers.fetchStateIds({ server, roomId, eventId: id(url.searchParams.get('event_id') ?? '') });
      return { pdu_ids: ids.stateIds, auth_chain_ids: ids.authChainIds };
    }
    if (endpoint === 'event') {
      const pdu = await answers.fetchEvent({ server, roomId, eventId: id(last) });
      return pdu === undefined ? undefined : { pdus: [pdu] };
    }
    if (endpoint !== 'backfill') return undefined;
    const from = url.searchParams.getAll('v').map(id);
    return {
      pdus: await answers.fetchBackfill({ server, roomId, from, limit: Number(url.searchParams.get('limit')) }),
    };
  }

  ask(path: string, body?: JsonObject): Promise<{ readonly status: number; readonly body: unknown }> {
    const method = body === undefined ? 'GET' : 'POST';
    return askAs(this.#peer, this.#here, { path: `/_matrix/federation/v1${path}`, method, ...(body && { body }) });
  }
}
