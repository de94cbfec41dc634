/**
 * Other servers for tests: whole ones in this process, over real TLS on addresses of their own, and scripted ones that
 * answer whatever a test wants. Server names are addresses, so that nothing depends on DNS.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import type { Endpoint } from '../../src/http/endpoint.ts';
import { type Logger, silentLogger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { ServerName } from '../../src/protocol/ids.ts';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { createSigningKey, type SigningKey, signJson } from '../../src/protocol/signing.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { federationOnLoopback, type TestAuthority } from './certificates.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { textAt } from './json.ts';

let addresses = 0;

/** An address of this machine that no other test uses: those of one process share a network of their own. */
export function nextAddress(): string {
  addresses += 1;
  return `127.${(process.pid >> 8) & 0xff}.${process.pid & 0xff}.${addresses}`;
}

export interface TestHomeserver extends AsyncDisposable {
  readonly serverName: ServerName;
  readonly url: string;
  readonly configPath: string;
  readonly dataDir: string;
  readonly test: TestDatabase;
  /** Everything that it answers, as declared. */
  readonly endpoints: readonly Endpoint[];
  /** Registers a user, and gives what talks to the server as that user. */
  register(localpart: string): Promise<TestClient>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface TestClient {
  readonly userId: string;
  readonly token: string;
  /** Any path, as this user. */
  admin(method: string, path: string): Promise<{ readonly status: number; readonly body: unknown }>;
  call(method: string, path: string, body?: unknown): Promise<{ readonly status: number; readonly body: unknown }>;
  ok(method: string, path: string, body?: unknown): Promise<unknown>;
}

export interface HomeserverOptions {
  readonly authority: TestAuthority;
  /** Merged over the configuration, key by key at the top level. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly federation?: Readonly<Record<string, unknown>>;
  readonly logger?: Logger;
}

export async function startHomeserver({
  authority,
  config,
  federation,
  logger,
}: HomeserverOptions): Promise<TestHomeserver> {
  const address = nextAddress();
  const folder = await mkdtemp(join(tmpdir(), 'hammerhead-peer-'));
  const test = await createTestDatabase({ migrated: false });
  const { certificatePath, keyPath } = await authority.issue(address);
  const configPath = join(folder, 'config.yaml');
  const settings = {
    server_name: `${address}:8448`,
    data_dir: join(folder, 'data'),
    database: { url: test.connection },
    listeners: [
      { address, port: 8008 },
      { address, port: 8448, tls: { certificate: certificatePath, key: keyPath } },
    ],
    registration: { enabled: true, requires_token: false, password_requirements: { min_length: 1, min_entropy: 0 } },
    rate_limits: { enabled: false },
    federation: { ...federationOnLoopback(authority), ...federation },
    ...config,
  };
  // JSON is YAML.
  await writeFile(configPath, JSON.stringify(settings));
  const url = `http://${address}:8008`;
  let running: RunningServer | undefined;
  const stop = async (): Promise<void> => {
    await running?.stop();
    running = undefined;
  };
  const start = async (): Promise<void> => {
    running = await startServer({ config: loadConfig(configPath), configPath, logger: logger ?? silentLogger });
  };
  await start();
  return {
    serverName: `${address}:8448` as ServerName,
    url,
    configPath,
    dataDir: join(folder, 'data'),
    test,
    get endpoints() {
      return running?.endpoints ?? [];
    },
    register: (localpart) => createClient(url, localpart),
    stop,
    start,
    async [Symbol.asyncDispose]() {
      await stop();
      await test.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Registers a user with whatever homeserver is there. */
export async function createClient(url: string, username: string): Promise<TestClient> {
  const body = { username, password: 'Correct.Horse-7#Battery~Staple', auth: { type: 'm.login.dummy' } };
  const answer = await call(url, { method: 'POST', path: '/_matrix/client/v3/register', body });
  const token = textAt(answer.body, 'access_token');
  const headers = { authorization: `Bearer ${token}` };
  const asUser: TestClient['call'] = (method, path, sent) =>
    call(url, { method, path: `/_matrix/client/v3${path}`, body: sent, headers });
  return {
    userId: textAt(answer.body, 'user_id'),
    token,
    admin: (method, path) => call(url, { method, path, headers }),
    call: asUser,
    async ok(method, path, sent) {
      const { status, body: answered } = await asUser(method, path, sent);
      if (status !== 200) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answered)}`);
      return answered;
    },
  };
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A plain HTTP request, whatever comes back. */
export async function call(
  url: string,
  { method, path, body, headers }: Call,
): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${url}${path}`, {
    method,
    ...(headers === undefined ? {} : { headers }),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
}

export interface ScriptedServer extends AsyncDisposable {
  readonly serverName: ServerName;
  readonly address: string;
  readonly port: number;
  readonly signingKey: SigningKey;
  /** Method and path of each request, in order. */
  readonly requests: string[];
  handle: RequestListener;
  /** The signed document of its key. */
  keyDocument(more?: JsonObject): JsonObject;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** A server that answers as `handle` says; without one it publishes its key. */
export async function startScriptedServer(
  authority: TestAuthority,
  options: { readonly names?: readonly string[] } = {},
): Promise<ScriptedServer> {
  const address = nextAddress();
  const { certificate, key } = await authority.issue(...(options.names ?? [address]));
  const server = createServer({ cert: certificate, key }, (request, response) => {
    scripted.requests.push(`${request.method} ${request.url}`);
    scripted.handle(request, response);
  });
  server.listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const serverName = `${address}:${port}` as ServerName;
  const signingKey = createSigningKey(secureRandom.bytes(32), 'scripted');
  const keyDocument = (more: JsonObject = {}): JsonObject =>
    signJson(
      {
        server_name: serverName,
        valid_until_ts: Date.now() + DAY_MS,
        verify_keys: { [signingKey.keyId]: { key: signingKey.publicKey } },
        old_verify_keys: {},
        ...more,
      },
      serverName,
      signingKey,
    );
  const scripted: ScriptedServer = {
    serverName,
    address,
    port,
    signingKey,
    requests: [],
    keyDocument,
    handle(_request, response) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(keyDocument()));
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return scripted;
}
