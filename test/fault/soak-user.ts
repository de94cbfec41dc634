/**
 * A user who does something allowed at random, again and again. An answer of 5xx fails, and so does 403 or 404 where the
 * user has the right: other users act meanwhile, so that a room that was just left or an unlucky moment may be refused.
 */
import assert from 'node:assert/strict';
import { textAt } from '../support/json.ts';

interface SoakUserOptions {
  readonly name: string;
  /** Of all users together. */
  readonly rooms: string[];
}

const CLIENT = '/_matrix/client/v3';
const PASSWORD = 'Correct.Horse-7#Battery~Staple';
/** Beyond that somebody joins one that is there. */
const MAX_ROOMS = 60;
const ALLOWED_STATUSES: ReadonlySet<number> = new Set([200, 403, 404]);

export class SoakUser {
  acts = 0;
  readonly #url: string;
  readonly #token: string;
  readonly #userId: string;
  readonly #rooms: string[];
  readonly #joined = new Set<string>();
  #since: string | undefined;

  private constructor(url: string, { rooms }: SoakUserOptions, account: { readonly token: string; userId: string }) {
    this.#url = url;
    this.#rooms = rooms;
    this.#token = account.token;
    this.#userId = account.userId;
  }

  static async register(url: string, options: SoakUserOptions): Promise<SoakUser> {
    const body = { username: options.name, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    const answer = await fetch(`${url}${CLIENT}/register`, { method: 'POST', body: JSON.stringify(body) });
    const account: unknown = await answer.json();
    assert.equal(answer.status, 200);
    return new SoakUser(url, options, { token: textAt(account, 'access_token'), userId: textAt(account, 'user_id') });
  }

  async actAtRandom(): Promise<void> {
    const acts = [
      this.#talk,
      this.#talk,
      this.#talk,
      this.#sync,
      this.#sync,
      this.#read,
      this.#joinOrCreate,
      this.#leave,
      this.#setState,
      this.#markRead,
      this.#rename,
    ];
    await acts[Math.floor(Math.random() * acts.length)]?.call(this);
  }

  async #talk(): Promise<void> {
    const roomId = this.#anyJoined();
    if (roomId === undefined) return this.#joinOrCreate();
    const body = { msgtype: 'm.text', body: `${this.#userId} says ${this.acts}` };
    await this.#call('PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/s${this.acts}`, body);
  }

  async #sync(): Promise<void> {
    const since = this.#since === undefined ? '' : `&since=${this.#since}`;
    this.#since = textAt(await this.#call('GET', `/sync?timeout=50${since}`), 'next_batch');
  }

  async #read(): Promise<void> {
    const roomId = this.#anyJoined();
    if (roomId === undefined) return;
    const path = `/rooms/${encodeURIComponent(roomId)}`;
    await this.#call('GET', `${path}/messages?dir=b&limit=50`);
    await this.#call('GET', `${path}/members`);
  }

  async #joinOrCreate(): Promise<void> {
    const isNew = this.#rooms.length === 0 || (this.#rooms.length < MAX_ROOMS && Math.random() < 0.2);
    if (isNew) {
      const roomId = textAt(await this.#call('POST', '/createRoom', { preset: 'public_chat' }), 'room_id');
      this.#rooms.push(roomId);
      this.#joined.add(roomId);
      return;
    }
    const roomId = this.#rooms[Math.floor(Math.random() * this.#rooms.length)] ?? '';
    await this.#call('POST', `/join/${encodeURIComponent(roomId)}`, {});
    this.#joined.add(roomId);
  }

  async #leave(): Promise<void> {
    const roomId = this.#anyJoined();
    if (roomId === undefined) return;
    this.#joined.delete(roomId);
    await this.#call('POST', `/rooms/${encodeURIComponent(roomId)}/leave`, {});
  }

  async #setState(): Promise<void> {
    const roomId = this.#anyJoined();
    if (roomId === undefined) return;
    await this.#call('PUT', `/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`, { topic: `${this.acts}` });
  }

  async #markRead(): Promise<void> {
    const roomId = this.#anyJoined();
    if (roomId === undefined) return;
    const path = `/rooms/${encodeURIComponent(roomId)}`;
    const page = await this.#call('GET', `${path}/messages?dir=b&limit=1`);
    const eventId = JSON.stringify(page).match(/"event_id":"([^"]+)"/)?.[1];
    if (eventId !== undefined) await this.#call('POST', `${path}/receipt/m.read/${encodeURIComponent(eventId)}`, {});
  }

  async #rename(): Promise<void> {
    await this.#call('PUT', `/profile/${encodeURIComponent(this.#userId)}/displayname`, {
      displayname: `Number ${this.acts}`,
    });
  }

  #anyJoined(): string | undefined {
    const joined = [...this.#joined];
    return joined[Math.floor(Math.random() * joined.length)];
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    this.acts += 1;
    const answer = await fetch(`${this.#url}${CLIENT}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    assert.ok(ALLOWED_STATUSES.has(answer.status), `${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text);
  }
}
