/**
 * A homeserver that only sends: it publishes its key, joins rooms by way of the server that is measured, and gives it signed
 * messages.
 */
import { Pool } from 'undici';
import { encodeCanonicalJson } from '../../src/protocol/canonical-json.ts';
import { createEvent } from '../../src/protocol/event.ts';
import type { EventId, RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import type { JsonObject, JsonValue, Pdu } from '../../src/protocol/pdu.ts';
import { signRequest } from '../../src/protocol/request-signing.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import type { TestAuthority } from '../../test/support/certificates.ts';
import { versionOf } from '../../test/support/engine.ts';
import { startScriptedServer } from '../../test/support/federation.ts';
import { at, listAt, textAt } from '../../test/support/json.ts';

export interface JoinedRoom {
  readonly roomId: RoomId;
  readonly newest: EventId;
  /** The next message, signed; not yet sent. */
  message(body: string): Pdu;
}

export interface Peer extends AsyncDisposable {
  join(roomId: string): Promise<JoinedRoom>;
  /** One transaction; throws where a PDU was refused. */
  send(pdus: readonly Pdu[]): Promise<void>;
}

export interface Measured {
  /** Where its federation API is, in plain HTTP. */
  readonly url: string;
  readonly serverName: string;
}

export async function createPeer(authority: TestAuthority, { url, serverName }: Measured): Promise<Peer> {
  const server = await startScriptedServer(authority);
  const { serverName: origin, signingKey: key } = server;
  server.handle = (request, response) => {
    const isKey = request.url?.startsWith('/_matrix/key/') === true;
    // What the measured server sends is taken, and forgotten.
    request.resume();
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(isKey ? server.keyDocument() : { pdus: {} }));
  };
  const userId = `@bench:${origin}` as UserId;
  const pool = new Pool(url, { connections: 1 });
  let transactions = 0;

  async function call(method: 'GET' | 'PUT', path: string, body?: JsonObject): Promise<unknown> {
    const content = body === undefined ? undefined : encodeCanonicalJson(body);
    const destination = serverName as ServerName;
    const authorization = signRequest({ method, uri: path, origin, destination, content }, key);
    const headers = { authorization, ...(content === undefined ? {} : { 'content-type': 'application/json' }) };
    const answer = await pool.request({ method, path, headers, body: content ?? null });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 300)}`);
    return JSON.parse(text);
  }

  return {
    async join(text) {
      const roomId = text as RoomId;
      const room = encodeURIComponent(roomId);
      const path = `/_matrix/federation/v1/make_join/${room}/${encodeURIComponent(userId)}?ver=11`;
      const template = at(await call('GET', path), 'event') as JsonObject;
      const version = versionOf('11');
      const { pdu, eventId } = hashAndSignEvent(
        { ...template, origin_server_ts: Date.now() } as unknown as Pdu,
        version,
        { serverName: origin, key },
      );
      const joined = await call('PUT', `/_matrix/federation/v2/send_join/${room}/${encodeURIComponent(eventId)}`, pdu);
      return createRoom({
        roomId,
        userId,
        origin,
        key,
        join: eventId,
        depth: pdu.depth,
        state: listAt(joined, 'state'),
      });
    },
    async send(pdus) {
      transactions += 1;
      const body: JsonObject = { origin, origin_server_ts: Date.now(), pdus: pdus as readonly JsonValue[] };
      const answer = await call('PUT', `/_matrix/federation/v1/send/${transactions}`, body);
      const refused = Object.entries(at(answer, 'pdus') ?? {}).find(([, result]) => at(result, 'error') !== undefined);
      if (refused !== undefined) throw new Error(`${refused[0]}: ${textAt(refused[1], 'error')}`);
    },
    async [Symbol.asyncDispose]() {
      await pool.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

interface Joined {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly origin: ServerName;
  readonly key: Parameters<typeof signRequest>[1];
  readonly join: EventId;
  readonly depth: number;
  readonly state: readonly unknown[];
}

/** Each message follows the one before it. */
function createRoom({ roomId, userId, origin, key, join, depth, state }: Joined): JoinedRoom {
  const version = versionOf('11');
  const cited = state
    .map((pdu) => createEvent(pdu as Pdu, version))
    .filter(({ type }) => type === 'm.room.create' || type === 'm.room.power_levels')
    .map(({ eventId }) => eventId);
  let newest = join;
  let at = depth;
  return {
    roomId,
    get newest() {
      return newest;
    },
    message(text) {
      at += 1;
      const body = {
        auth_events: [...cited, join],
        content: { msgtype: 'm.text', body: text },
        depth: at,
        origin_server_ts: Date.now(),
        prev_events: [newest],
        room_id: roomId,
        sender: userId,
        type: 'm.room.message',
      };
      const { pdu, eventId } = hashAndSignEvent(body, version, { serverName: origin, key });
      newest = eventId;
      return pdu;
    },
  };
}
