/**
 * The client-server API as the scenarios use it: typed calls over the load generator's client, nothing any one
 * homeserver would offer alone but account creation by shared secret, for servers that allow no open registration.
 */
import { createHmac } from 'node:crypto';
import { entriesAt, listAt, textAt } from '../../test/support/json.ts';
import type { HttpClient } from './client.ts';

export interface Account {
  readonly userId: string;
  readonly token: string;
}

interface RegistrationOptions {
  readonly registrationToken?: string | undefined;
  readonly sharedSecret?: string | undefined;
}

interface SyncQuery {
  readonly since?: string;
  readonly filter?: string;
  readonly timeoutMs: number;
}

interface SyncAnswer {
  readonly nextBatch: string;
  /** Room id to the events of its timeline. */
  readonly timelines: ReadonlyMap<string, readonly unknown[]>;
}

export type Api = ReturnType<typeof createApi>;

const CLIENT = '/_matrix/client/v3';
/** Long and mixed enough for any password policy. */
const PASSWORD = 'bench-Correct.Horse-7#Battery~Staple';

export function createApi(http: HttpClient, registration: RegistrationOptions) {
  const room = (roomId: string): string => `${CLIENT}/rooms/${encodeURIComponent(roomId)}`;
  return {
    http,
    register: (localpart: string) => register(http, localpart, registration),
    async createRoom({ token }: Account, body: Readonly<Record<string, unknown>>): Promise<string> {
      return textAt(await http.call({ method: 'POST', path: `${CLIENT}/createRoom`, token, body }), 'room_id');
    },
    /** `via`: a server in the room, where the user's own may not be. */
    async join({ token }: Account, roomId: string, via?: string): Promise<void> {
      const path = `${CLIENT}/join/${encodeURIComponent(roomId)}${via === undefined ? '' : `?via=${via}`}`;
      await http.call({ method: 'POST', path, token, body: {} });
    },
    async sendMessage({ token }: Account, roomId: string, message: { txnId: string; body: string }): Promise<string> {
      const path = `${room(roomId)}/send/m.room.message/${message.txnId}`;
      const body = { msgtype: 'm.text', body: message.body };
      return textAt(await http.call({ method: 'PUT', path, token, body }), 'event_id');
    },
    async countMembers({ token }: Account, roomId: string): Promise<number> {
      return listAt(await http.call({ method: 'GET', path: `${room(roomId)}/members`, token }), 'chunk').length;
    },
    async countState({ token }: Account, roomId: string): Promise<number> {
      return listAt(await http.call({ method: 'GET', path: `${room(roomId)}/state`, token })).length;
    },
    async countMessages({ token }: Account, roomId: string): Promise<number> {
      const path = `${room(roomId)}/messages?dir=b&limit=100`;
      return listAt(await http.call({ method: 'GET', path, token }), 'chunk').length;
    },
    async createFilter({ token, userId }: Account, filter: unknown): Promise<string> {
      const path = `${CLIENT}/user/${encodeURIComponent(userId)}/filter`;
      return textAt(await http.call({ method: 'POST', path, token, body: filter }), 'filter_id');
    },
    async sync({ token }: Account, query: SyncQuery): Promise<SyncAnswer> {
      const parameters = new URLSearchParams({ timeout: String(query.timeoutMs), set_presence: 'offline' });
      if (query.since !== undefined) parameters.set('since', query.since);
      if (query.filter !== undefined) parameters.set('filter', query.filter);
      const answer = await http.call({ method: 'GET', path: `${CLIENT}/sync?${parameters}`, token });
      const rooms = entriesAt(answer, 'rooms', 'join');
      return {
        nextBatch: textAt(answer, 'next_batch'),
        timelines: new Map(rooms.map(([roomId, joined]) => [roomId, listAt(joined, 'timeline', 'events')])),
      };
    },
  };
}

async function register(http: HttpClient, localpart: string, options: RegistrationOptions): Promise<Account> {
  const { registrationToken, sharedSecret } = options;
  if (sharedSecret !== undefined) return registerBySecret(http, localpart, sharedSecret);
  const path = `${CLIENT}/register`;
  const request = { username: localpart, password: PASSWORD };
  if (registrationToken === undefined) {
    return readAccount(
      await http.call({ method: 'POST', path, body: { ...request, auth: { type: 'm.login.dummy' } } }),
    );
  }
  const session = textAt(JSON.parse((await http.send({ method: 'POST', path, body: request })).text), 'session');
  const auth = { type: 'm.login.registration_token', token: registrationToken, session };
  const first = await http.send({ method: 'POST', path, body: { ...request, auth } });
  if (first.status === 200) return readAccount(JSON.parse(first.text));
  // Servers differ in whether the flow has a dummy stage after the token's.
  const dummy = { type: 'm.login.dummy', session };
  return readAccount(await http.call({ method: 'POST', path, body: { ...request, auth: dummy } }));
}

/** Synapse's registration by shared secret, which other homeservers offer as well. */
async function registerBySecret(http: HttpClient, username: string, secret: string): Promise<Account> {
  const path = '/_synapse/admin/v1/register';
  const nonce = textAt(await http.call({ method: 'GET', path }), 'nonce');
  const mac = createHmac('sha1', secret).update([nonce, username, PASSWORD, 'notadmin'].join('\0')).digest('hex');
  const body = { nonce, username, password: PASSWORD, admin: false, mac };
  return readAccount(await http.call({ method: 'POST', path, body }));
}

function readAccount(answer: unknown): Account {
  return { userId: textAt(answer, 'user_id'), token: textAt(answer, 'access_token') };
}
