/**
 * The rooms API over real HTTP and a real database, without accounts: a token is `<localpart>` or `<localpart>/<device>`,
 * and flags are set on the account by name.
 */
import { roomEndpoints } from '../../src/api/client/room-endpoints.ts';
import type { Endpoint, Requester } from '../../src/http/endpoint.ts';
import { createRateLimiter } from '../../src/http/rate-limiter.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import { DEFAULT_ROOM_VERSION } from '../../src/protocol/room-version.ts';
import type { Profile } from '../../src/rooms/profile.ts';
import { createRooms, type Rooms, type RoomsOptions } from '../../src/rooms/rooms.ts';
import { createSearchIndex } from '../../src/rooms/search-index.ts';
import { accountDataStream } from '../../src/storage/account-data.ts';
import type { Fact } from '../../src/streams/committer.ts';
import { createIgnoredUsers } from '../../src/sync/ignored-users.ts';
import { createTestEngine, SERVER, type TestEngine } from './engine.ts';
import { textAt } from './json.ts';

export interface RoomsServer extends AsyncDisposable {
  readonly url: string;
  readonly rooms: Rooms;
  readonly at: TestEngine;
  /** Shown in member events, by localpart. */
  readonly profiles: Map<string, Profile>;
  readonly suspended: Set<string>;
  readonly guests: Set<string>;
  readonly admins: Set<string>;
  readonly copiedSettings: { readonly from: string; readonly to: string; readonly userIds: readonly string[] }[];
  as(token: string): TestUser;
}

export async function startRoomsServer(
  options: {
    wrap?: (rooms: RoomsOptions) => RoomsOptions;
    expectsFaults?: boolean;
    /** Endpoints beside those of rooms. */
    more?: (at: TestEngine) => readonly Endpoint[];
  } = {},
): Promise<RoomsServer> {
  const at = await createTestEngine();
  const profiles = new Map<string, Profile>();
  const suspended = new Set<string>();
  const guests = new Set<string>();
  const admins = new Set<string>();
  const copiedSettings: RoomsServer['copiedSettings'] = [];
  const localpart = (userId: string): string => userId.slice(1, userId.indexOf(':'));
  const wrap = options.wrap ?? ((unchanged) => unchanged);
  const searchIndex = createSearchIndex({
    database: at.db.database,
    hub: at.hub,
    committer: at.committer,
    clock: systemClock,
    logger: faultLogger,
  });
  const ignoredUsers = createIgnoredUsers({ database: at.db.database, hub: at.hub });
  const rooms = createRooms(
    wrap({
      searchIndex,
      ignoredUsers,
      hub: at.hub,
      engine: at.engine,
      database: at.db.database,
      clock: systemClock,
      serverName: SERVER,
      writerId: at.committer.writerId,
      defaultVersion: DEFAULT_ROOM_VERSION,
      loadProfile: async (userId) => profiles.get(localpart(userId)) ?? {},
      isAdmin: async (userId) => admins.has(localpart(userId)),
      copyPersonalSettings: async (move) => {
        copiedSettings.push(move);
      },
    }),
  );
  const toRequester = (token: string): Requester => {
    const [name = '', deviceId = 'DEVICE'] = token.split('/');
    return {
      userId: userId(name),
      deviceId,
      accountId: 1,
      isGuest: guests.has(name),
      isSuspended: suspended.has(name),
    };
  };
  const http = createHttpServer({
    endpoints: [...roomEndpoints(rooms), ...(options.more?.(at) ?? [])],
    listeners: [{ address: '127.0.0.1', port: 0 }],
    authenticator: {
      authenticate: ({ authorization }) =>
        authorization === undefined ? undefined : toRequester(authorization.replace('Bearer ', '')),
    },
    rateLimiter: createRateLimiter({ clock: systemClock, limits: {} }),
    logger: options.expectsFaults === true ? silentLogger : faultLogger,
    clock: systemClock,
    random: secureRandom,
  });
  await http.listen();
  const url = http.addresses()[0] ?? '';
  return {
    url,
    rooms,
    at,
    profiles,
    suspended,
    guests,
    admins,
    copiedSettings,
    as: (token) => new TestUser(url, token),
    async [Symbol.asyncDispose]() {
      await http.close();
      await searchIndex[Symbol.asyncDispose]();
      await at[Symbol.asyncDispose]();
    },
  };
}

const nothing = (): void => undefined;
/** Faults of the server belong into the test's output. */
const faultLogger: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: (fields, message) => console.error(message, fields),
  child: () => faultLogger,
};

export function userId(name: string, server: ServerName = SERVER): UserId {
  return `@${name}:${server}` as UserId;
}

export interface TestAnswer {
  readonly status: number;
  readonly body: unknown;
}

const CLIENT = '/_matrix/client/v3';

/** One account, and the calls that tests make over and over; `ok*` ones fail on anything but 200. */
export class TestUser {
  readonly userId: UserId;
  readonly #url: string;
  readonly #token: string;
  #transactions = 0;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
    this.userId = userId(token.split('/')[0] ?? '');
  }

  call(method: string, path: string, body?: unknown): Promise<TestAnswer> {
    return this.fetch(`${CLIENT}${path}`, method, body);
  }

  /** By the whole path, for the other versions of the API. */
  async fetch(path: string, method = 'GET', body?: unknown): Promise<TestAnswer> {
    const answer = await fetch(`${this.#url}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await answer.text();
    return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  async ok(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.call(method, path, body);
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  get(path: string): Promise<TestAnswer> {
    return this.call('GET', path);
  }

  async createRoom(body: Readonly<Record<string, unknown>> = {}): Promise<TestRoom> {
    return this.room(textAt(await this.ok('POST', '/createRoom', body), 'room_id'));
  }

  room(roomId: string): TestRoom {
    return new TestRoom(this, roomId, () => `t${this.#transactions++}`);
  }
}

/** A room as one account acts in it. */
export class TestRoom {
  readonly roomId: string;
  readonly path: string;
  readonly #user: TestUser;
  readonly #nextTransaction: () => string;

  constructor(user: TestUser, roomId: string, nextTransaction: () => string) {
    this.#user = user;
    this.roomId = roomId;
    this.path = `/rooms/${encodeURIComponent(roomId)}`;
    this.#nextTransaction = nextTransaction;
  }

  call(method: string, path: string, body?: unknown): Promise<TestAnswer> {
    return this.#user.call(method, `${this.path}${path}`, body);
  }

  ok(method: string, path: string, body?: unknown): Promise<unknown> {
    return this.#user.ok(method, `${this.path}${path}`, body);
  }

  get(path: string): Promise<TestAnswer> {
    return this.call('GET', path);
  }

  async send(body: string): Promise<string> {
    const content = { msgtype: 'm.text', body };
    return textAt(await this.ok('PUT', `/send/m.room.message/${this.#nextTransaction()}`, content), 'event_id');
  }

  async setState(type: string, content: unknown, stateKey = ''): Promise<string> {
    return textAt(await this.ok('PUT', `/state/${type}/${encodeURIComponent(stateKey)}`, content), 'event_id');
  }

  state(type: string, stateKey = ''): Promise<unknown> {
    return this.ok('GET', `/state/${type}/${encodeURIComponent(stateKey)}`);
  }

  async join(): Promise<void> {
    await this.ok('POST', '/join', {});
  }

  async leave(): Promise<void> {
    await this.ok('POST', '/leave', {});
  }

  async invite(user: TestUser): Promise<void> {
    await this.ok('POST', '/invite', { user_id: user.userId });
  }
}

/** Account data that a user has set, without the API that sets it. */
export async function saveAccountData(
  server: RoomsServer,
  userId: UserId,
  { type, content, roomId }: { type: string; content: object; roomId?: string },
): Promise<void> {
  const row = { userId, roomId: roomId as RoomId | undefined, type, content: JSON.stringify(content) };
  const fact: Fact = { table: accountDataStream, row } as Fact;
  await server.at.committer.commit({ facts: [fact] });
}

export function ignore(server: RoomsServer, userId: UserId, ignored: UserId): Promise<void> {
  return saveAccountData(server, userId, {
    type: 'm.ignored_user_list',
    content: { ignored_users: { [ignored]: {} } },
  });
}
