/**
 * The server as it is put together in earnest, in this process and on a database of its own: for tests of what only the
 * whole shows. Faults that it logs are kept.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { createRequester, type RequestOptions, type TestAnswer } from './accounts-server.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { createFaultLogger } from './fault-logger.ts';
import { textAt } from './json.ts';
import { TestUser } from './rooms-server.ts';

export const WHOLE_SERVER_NAME = 'test.example';

export interface WholeServer extends AsyncDisposable {
  readonly running: RunningServer;
  readonly test: TestDatabase;
  readonly faults: readonly string[];
  request(method: string, path: string, options?: RequestOptions): Promise<TestAnswer>;
  register(username: string): Promise<Registered>;
  registerGuest(): Promise<Registered>;
}

export interface Registered {
  readonly userId: string;
  readonly token: string;
  readonly deviceId: string;
  /** For its requests only: it does not know its user id. */
  readonly client: TestUser;
}

const V3 = '/_matrix/client/v3';

/** `config` is merged over a configuration with open registration and without rate limits, key by key at the top. */
export async function startWholeServer(config: Readonly<Record<string, unknown>> = {}): Promise<WholeServer> {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await createTestDatabase());
  const folder = await mkdtemp(join(tmpdir(), 'hammerhead-whole-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const configPath = join(folder, 'config.yaml');
  await writeFile(
    configPath,
    JSON.stringify({
      server_name: WHOLE_SERVER_NAME,
      data_dir: folder,
      listeners: [{ address: '127.0.0.1', port: 0 }],
      database: { url: test.connection, max_open_connections: 10 },
      registration: { enabled: true, requires_token: false, guests: true, password_requirements: { min_entropy: 0 } },
      rate_limits: { enabled: false },
      ...config,
    }),
  );
  const faults: string[] = [];
  const running = await startServer({ config: loadConfig(configPath), configPath, logger: createFaultLogger(faults) });
  stack.defer(() => running.stop());
  const url = running.addresses[0] ?? '';
  const request = createRequester(url);
  const register = async (path: string, body: object): Promise<Registered> => {
    const answer = await request('POST', `${V3}/register${path}`, { body });
    if (answer.status !== 200) throw new Error(`registration failed: ${JSON.stringify(answer.body)}`);
    const token = textAt(answer.body, 'access_token');
    const client = new TestUser(url, token);
    return { userId: textAt(answer.body, 'user_id'), token, deviceId: textAt(answer.body, 'device_id'), client };
  };
  const resources = stack.move();
  return {
    running,
    test,
    faults,
    request,
    register: (username) =>
      register('', { username, password: 'correct horse battery', auth: { type: 'm.login.dummy' } }),
    registerGuest: () => register('?kind=guest', {}),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
