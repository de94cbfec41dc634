/**
 * A matrix-js-sdk client as an application would hold it: logged in on a device of its own, syncing, without crypto.
 * `seen` holds the id of each timeline event that the sync brought live, in order and with repeats.
 */
import {
  ClientEvent,
  createClient,
  type MatrixClient,
  type MatrixEvent,
  MemoryStore,
  type Room,
  RoomEvent,
  SyncState,
} from 'matrix-js-sdk';
import { logger as globalLogger, type Logger } from 'matrix-js-sdk/lib/logger.js';

export interface Session extends AsyncDisposable {
  readonly client: MatrixClient;
  readonly userId: string;
  readonly seen: readonly MatrixEvent[];
  /** Waits until `read` gives something but undefined and false, looking again after each sync and event. */
  until<T>(what: string, read: () => T | undefined | false): Promise<T>;
  /** The room, once the sync has brought it. */
  room(roomId: string): Promise<Room>;
}

const PASSWORD = 'Correct.Horse-7#Battery~Staple';
const WAIT_TIMEOUT_MS = 20_000;
const LOOK_AGAIN_MS = 50;
const ignore = (): undefined => undefined;
/** The SDK logs each request and more; a failed assertion says enough. */
const silentLogger: Logger = {
  trace: ignore,
  debug: ignore,
  info: ignore,
  warn: ignore,
  error: ignore,
  getChild: () => silentLogger,
};
// Some of its modules still log through this one, and make further loggers with its method factory.
Object.assign(globalLogger, { ...silentLogger, log: ignore, methodFactory: () => ignore });

// The SDK never clears the time-out of a request that was answered, and the test is not to wait two minutes for those.
const setTimer = globalThis.setTimeout;
Reflect.set(globalThis, 'setTimeout', (callback: (...values: unknown[]) => void, delay = 0, ...values: unknown[]) => {
  const timer = setTimer(callback, delay, ...values);
  return delay > WAIT_TIMEOUT_MS ? timer.unref() : timer;
});

export async function registerSession(baseUrl: string, username: string): Promise<Session> {
  const guest = createClient({ baseUrl, logger: silentLogger });
  const answer = await guest.registerRequest({ username, password: PASSWORD, auth: { type: 'm.login.dummy' } });
  const { user_id: userId, access_token: accessToken, device_id: deviceId } = answer;
  if (accessToken === undefined || deviceId === undefined) throw new Error('registered without being logged in');
  return startSession(baseUrl, { userId, accessToken, deviceId });
}

/** Logs in on a new device. */
export async function logInSession(baseUrl: string, username: string): Promise<Session> {
  const answer = await createClient({ baseUrl, logger: silentLogger }).loginRequest({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: username },
    password: PASSWORD,
  });
  const { user_id: userId, access_token: accessToken, device_id: deviceId } = answer;
  return startSession(baseUrl, { userId, accessToken, deviceId });
}

async function startSession(
  baseUrl: string,
  credentials: { userId: string; accessToken: string; deviceId: string },
): Promise<Session> {
  const client = createClient({ baseUrl, ...credentials, store: new MemoryStore(), logger: silentLogger });
  const seen: MatrixEvent[] = [];
  client.on(RoomEvent.Timeline, (event, _room, toStartOfTimeline, _removed, data) => {
    // Sync's own events have no local echo left to replace, and are not paged in from history.
    if (toStartOfTimeline !== true && data.liveEvent === true && event.status === null) seen.push(event);
  });
  const session: Session = {
    client,
    userId: credentials.userId,
    seen,
    until: (what, read) => waitUntil(`${credentials.userId}: ${what}`, read),
    room: (roomId) => session.until(`room ${roomId}`, () => client.getRoom(roomId) ?? undefined),
    async [Symbol.asyncDispose]() {
      client.stopClient();
    },
  };
  const isPrepared = new Promise<void>((resolve, reject) => {
    client.on(ClientEvent.Sync, (state, _previous, data) => {
      if (state === SyncState.Prepared) resolve();
      // Errors later on are what a restart of the server looks like; the SDK tries again.
      if (state === SyncState.Error) reject(new Error('the first sync failed', { cause: data?.error }));
    });
  });
  await client.startClient({ initialSyncLimit: 20, lazyLoadMembers: true });
  await isPrepared;
  return session;
}

async function waitUntil<T>(what: string, read: () => T | undefined | false): Promise<T> {
  const deadline = Date.now() + WAIT_TIMEOUT_MS;
  for (;;) {
    const found = read();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
