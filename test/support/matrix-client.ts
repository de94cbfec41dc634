/**
 * The few calls of the client-server API that tests of a running server make over and over, as one account. Answers
 * are read leniently and fail loudly, with the server's own words.
 */
import { at, entriesAt, listAt, textAt } from './json.ts';

export interface Message {
  readonly eventId: string;
  readonly body: string;
}

export interface SyncedRoom {
  readonly messages: readonly Message[];
  readonly isLimited: boolean;
  readonly prevBatch: string | undefined;
}

interface SyncAnswer {
  readonly nextBatch: string;
  readonly rooms: ReadonlyMap<string, SyncedRoom>;
}

const CLIENT = '/_matrix/client/v3';
const PASSWORD = 'Correct.Horse-7#Battery~Staple';
/** What a server may well cut down to its own maximum. */
const PAGE_SIZE = 1_000;

export class MatrixClient {
  readonly userId: string;
  readonly #url: string;
  readonly #token: string;

  private constructor(url: string, userId: string, token: string) {
    this.#url = url;
    this.userId = userId;
    this.#token = token;
  }

  static async register(url: string, username: string): Promise<MatrixClient> {
    const answer = await request(url, {
      method: 'POST',
      path: `${CLIENT}/register`,
      body: { username, password: PASSWORD, auth: { type: 'm.login.dummy' } },
    });
    return new MatrixClient(url, textAt(answer, 'user_id'), textAt(answer, 'access_token'));
  }

  async createRoom(body: Readonly<Record<string, unknown>>): Promise<string> {
    return textAt(await this.#call('POST', '/createRoom', body), 'room_id');
  }

  /** `via`: a server in the room, where ours may not be. */
  async join(roomId: string, via?: string): Promise<void> {
    const query = via === undefined ? '' : `?via=${via}`;
    await this.#call('POST', `/join/${encodeURIComponent(roomId)}${query}`, {});
  }

  async setTopic(roomId: string, topic: string): Promise<void> {
    await this.#call('PUT', `/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`, { topic });
  }

  async send(roomId: string, txnId: string, body: string): Promise<string> {
    const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txnId}`;
    return textAt(await this.#call('PUT', path, { msgtype: 'm.text', body }), 'event_id');
  }

  async sync(query: { since?: string; timeoutMs?: number; timelineLimit?: number } = {}): Promise<SyncAnswer> {
    const filter = { room: { timeline: { limit: query.timelineLimit ?? 10 } } };
    const parameters = new URLSearchParams({ timeout: String(query.timeoutMs ?? 0), filter: JSON.stringify(filter) });
    if (query.since !== undefined) parameters.set('since', query.since);
    const answer = await this.#call('GET', `/sync?${parameters}`);
    return {
      nextBatch: textAt(answer, 'next_batch'),
      rooms: new Map(entriesAt(answer, 'rooms', 'join').map(([roomId, room]) => [roomId, readRoom(room)])),
    };
  }

  /** Every message between two tokens, newest first; to the room's beginning or end where a token is left out. */
  async listMessagesBackward(roomId: string, range: { from?: string; to?: string } = {}): Promise<Message[]> {
    return readMessages(await this.#listBackward(roomId, range));
  }

  /** The ids of all events of the room, newest first. */
  async listEventIds(roomId: string): Promise<string[]> {
    return (await this.#listBackward(roomId, {})).map((event) => textAt(event, 'event_id'));
  }

  /** The ids of the room's current state by type and key. */
  async listStateIds(roomId: string): Promise<string[]> {
    const state = listAt(await this.#call('GET', `/rooms/${encodeURIComponent(roomId)}/state`));
    return state
      .map((event) => `${textAt(event, 'type')} ${textAt(event, 'state_key')} ${textAt(event, 'event_id')}`)
      .sort();
  }

  async #listBackward(roomId: string, { from, to }: { from?: string; to?: string }): Promise<unknown[]> {
    const events: unknown[] = [];
    let token = from;
    do {
      const parameters = new URLSearchParams({ dir: 'b', limit: String(PAGE_SIZE) });
      if (token !== undefined) parameters.set('from', token);
      if (to !== undefined) parameters.set('to', to);
      const page = await this.#call('GET', `/rooms/${encodeURIComponent(roomId)}/messages?${parameters}`);
      events.push(...listAt(page, 'chunk'));
      const end = at(page, 'end');
      token = typeof end === 'string' && listAt(page, 'chunk').length > 0 ? end : undefined;
    } while (token !== undefined);
    return events;
  }

  #call(method: string, path: string, body?: unknown): Promise<unknown> {
    return request(this.#url, { method, path: `${CLIENT}${path}`, token: this.#token, body });
  }
}

async function request(
  url: string,
  { method, path, token, body }: { method: string; path: string; token?: string; body?: unknown },
): Promise<unknown> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const answer = await fetch(url + path, {
    method,
    headers: { ...headers, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${method} ${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text);
}

function readRoom(room: unknown): SyncedRoom {
  const prevBatch = at(room, 'timeline', 'prev_batch');
  return {
    messages: readMessages(listAt(room, 'timeline', 'events')),
    isLimited: at(room, 'timeline', 'limited') === true,
    prevBatch: typeof prevBatch === 'string' ? prevBatch : undefined,
  };
}

function readMessages(events: readonly unknown[]): Message[] {
  return events
    .filter((event) => at(event, 'type') === 'm.room.message')
    .map((event) => ({ eventId: textAt(event, 'event_id'), body: textAt(event, 'content', 'body') }));
}
