/**
 * What most tests between servers begin with: two of ours with a user on each, a scripted one, and what users ask for most.
 */
import { createTestAuthority, type TestAuthority } from './certificates.ts';
import {
  type HomeserverOptions,
  type ScriptedServer,
  startHomeserver,
  startScriptedServer,
  type TestClient,
  type TestHomeserver,
} from './federation.ts';
import { at } from './json.ts';

type Config = HomeserverOptions['config'] & {};

export interface Pair {
  readonly authority: TestAuthority;
  readonly here: TestHomeserver;
  readonly there: TestHomeserver;
  readonly peer: ScriptedServer;
  /** Of `here`. */
  readonly alice: TestClient;
  /** Of `there`. */
  readonly bob: TestClient;
}

/** Everything ends with the stack. */
export async function startPair(
  stack: AsyncDisposableStack,
  configs: { readonly here?: Config; readonly there?: Config } = {},
): Promise<Pair> {
  const authority = stack.use(await createTestAuthority());
  const start = async (config: Config = {}) => stack.use(await startHomeserver({ authority, config }));
  const [here, there] = await Promise.all([start(configs.here), start(configs.there)]);
  const peer = stack.use(await startScriptedServer(authority));
  return { authority, here, there, peer, alice: await here.register('alice'), bob: await there.register('bob') };
}

/** A path of the client-server API below a room. */
export const inRoom = (roomId: string, path = ''): string => `/rooms/${encodeURIComponent(roomId)}${path}`;

export async function memberIn(client: TestClient, roomId: string, userId: string): Promise<unknown> {
  return at((await client.call('GET', inRoom(roomId, `/state/m.room.member/${userId}`))).body, 'membership');
}

/** From the beginning, or waiting for what comes after a token. */
export function sync(client: TestClient, since?: string): Promise<unknown> {
  return client.ok('GET', since === undefined ? '/sync' : `/sync?timeout=10000&since=${since}`);
}

/** The names of the sections of a sync that hold the room. */
export function sectionsOf(synced: unknown, roomId: string): readonly string[] {
  return ['join', 'invite', 'knock', 'leave'].filter((name) => at(synced, 'rooms', name, roomId) !== undefined);
}
