/**
 * Many servers that are one process: a room with a member on each of them, which each of them lets others join, and note of
 * which messages reached how many. They share an event loop and a signing key, and have an address each.
 */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { secureRandom } from '../../src/lib/random.ts';
import { createEvent } from '../../src/protocol/event.ts';
import type { RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import type { Pdu } from '../../src/protocol/pdu.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import { createSigningKey, signJson } from '../../src/protocol/signing.ts';
import type { TestAuthority } from '../../test/support/certificates.ts';
import { versionOf } from '../../test/support/engine.ts';
import { RemoteRoom, RemoteServer } from '../../test/support/remote-room.ts';

export interface Town extends AsyncDisposable {
  readonly roomId: RoomId;
  readonly serverNames: readonly ServerName[];
  /** Resolves when every server was given a transaction with this body in it. */
  reached(body: string): Promise<void>;
}

const KEEP_ALIVE_MS = 60_000;
const DAY_MS = 24 * 60 * 60 * 1000;
const ADDRESSES_PER_NETWORK = 200;
const MESSAGE = /"body":"(message \d+)"/;

export async function startTown(authority: TestAuthority, size: number): Promise<Town> {
  const addresses = Array.from(
    { length: size },
    (_, index) => `127.77.${Math.floor(index / ADDRESSES_PER_NETWORK)}.${(index % ADDRESSES_PER_NETWORK) + 1}`,
  );
  const { certificate, key: privateKey } = await authority.issue(...addresses);
  const key = createSigningKey(secureRandom.bytes(32), 'town');
  const counts = new Map<string, number>();
  let arrived = (): void => undefined;
  const server = createServer({ cert: certificate, key: privateKey }, (request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  // The connections outlive whatever is measured in between.
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  // All addresses of this machine's own network lead here.
  server.listen(0, '0.0.0.0');
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const serverNames = addresses.map((address) => `${address}:${port}` as ServerName);
  const room = createRoom(serverNames.map((name) => new RemoteServer(name, key)));

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = (await request.toArray()).join('');
    const url = request.url ?? '';
    const answer = url.includes('/send/') ? { pdus: {} } : answerTo(url, request.headers.host ?? '');
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    const message = url.includes('/send/') ? MESSAGE.exec(body)?.[1] : undefined;
    if (message === undefined) return;
    counts.set(message, (counts.get(message) ?? 0) + 1);
    arrived();
  }

  function answerTo(url: string, host: string): object {
    const [path = ''] = url.split('?');
    const last = decodeURIComponent(path.split('/').at(-1) ?? '');
    if (path.startsWith('/_matrix/key/')) {
      const keys = { verify_keys: { [key.keyId]: { key: key.publicKey } }, old_verify_keys: {} };
      return signJson({ server_name: host, valid_until_ts: Date.now() + DAY_MS, ...keys }, host, key);
    }
    if (path.includes('/make_join/')) {
      const join = { type: 'm.room.member', sender: last as UserId, stateKey: last, content: { membership: 'join' } };
      const { hashes: _hashes, signatures: _signatures, ...event } = room.make(join).pdu;
      return { room_version: room.version.id, event };
    }
    const state = [...room.stateAfter(room.newest).values()].map(({ pdu }) => pdu);
    return path.includes('/send_join/') ? { state, auth_chain: state } : {};
  }

  return {
    roomId: room.roomId,
    serverNames,
    async reached(body) {
      while ((counts.get(body) ?? 0) < size) {
        await new Promise<void>((resolve) => {
          arrived = resolve;
        });
      }
      counts.delete(body);
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function createRoom(servers: readonly RemoteServer[]): RemoteRoom {
  const [first] = servers;
  if (first === undefined) throw new Error('a town has servers');
  const version = versionOf('10');
  const room = new RemoteRoom(first, { roomId: `!town:${first.name}` as RoomId, version });
  const sender = first.user('citizen');
  const create = { room_version: '10', creator: sender };
  room.add({ type: 'm.room.create', sender, stateKey: '', content: create, prev: [] });
  room.member(sender, 'join');
  room.add({ type: 'm.room.join_rules', sender, stateKey: '', content: { join_rule: 'public' } });
  for (const server of servers.slice(1)) {
    const { name, key } = server;
    const user = server.user('citizen');
    const { pdu } = room.make({ type: 'm.room.member', sender: user, stateKey: user, content: { membership: 'join' } });
    // Made by the first server; its own one has to sign it.
    const { hashes: _hashes, signatures: _signatures, ...body } = pdu;
    room.learn(createEvent(hashAndSignEvent(body as Pdu, version, { serverName: name, key }).pdu, version));
  }
  return room;
}
