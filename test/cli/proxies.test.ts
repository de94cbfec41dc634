/**
 * The snippets of contrib/ in real reverse proxies, in front of a real server: what clients and other servers send comes
 * through, and nobody hides behind a header. A proxy that is not installed is skipped, and says so.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { hash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { type CertificateFiles, makeCertificate } from '../support/certificates.ts';
import { findProgram } from '../support/cli.ts';
import { at, textAt } from '../support/json.ts';
import { findFreePort, type ServerProcess, startServer } from '../support/server-process.ts';

const CONTRIB = fileURLToPath(new URL('../../contrib/', import.meta.url));
/** A little less than the 50 MB that the server takes by default. */
const UPLOAD_BYTES = 49_000_000;
/** With `--long`, as long as the server lets them be: the minute after which proxies cut off what they are not told about. */
const POLL_MS = process.env['HAMMERHEAD_LONG_TESTS'] === undefined ? 2_000 : 60_000;
/** Addresses are noted together, every 15 seconds. */
const SEEN_TIMEOUT_MS = 25_000;
const START_TIMEOUT_MS = 10_000;

let folder: string;
let files: CertificateFiles;
let server: ServerProcess;
let token: string;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-proxies-'));
  chmodSync(folder, 0o755);
  files = makeCertificate({ folder, name: 'proxy', names: 'DNS:matrix.example.org' });
  server = await startServer({
    config: { trusted_proxies: ['127.0.0.1'], well_known: { client: 'https://matrix.example.org' } },
  });
  const register = { username: 'alice', password: 'correct horse battery staple', auth: { type: 'm.login.dummy' } };
  const answer = await fetch(`${server.url}/_matrix/client/v3/register`, {
    method: 'POST',
    body: JSON.stringify(register),
  });
  token = textAt(await answer.json(), 'access_token');
});
after(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Proxy {
  readonly name: string;
  /** Writes the snippet, changed as little as possible, and says how to start the program. */
  prepare(port: number): Promise<readonly string[]> | readonly string[];
}

const upstream = (): string => new URL(server.url).host;

const PROXIES: readonly Proxy[] = [
  {
    name: 'nginx',
    async prepare(port) {
      const other = await findFreePort();
      const snippet = readFileSync(join(CONTRIB, 'nginx/hammerhead.conf'), 'utf8')
        .replaceAll(/^ *listen \[::\].*\n/gm, '')
        .replace('listen 443 ', `listen 127.0.0.1:${port} `)
        .replace('listen 8448 ', `listen 127.0.0.1:${other} `)
        .replace('127.0.0.1:8008', upstream())
        .replace(/ssl_certificate .*;/, `ssl_certificate ${files.certificate};`)
        .replace(/ssl_certificate_key .*;/, `ssl_certificate_key ${files.key};`);
      writeFileSync(join(folder, 'snippet.conf'), snippet);
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
      const paths = temporary.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ');
      const user = process.getuid?.() === 0 ? 'user root;' : '';
      writeFileSync(
        join(folder, 'nginx.conf'),
        `daemon off; ${user} pid ${folder}/nginx.pid; error_log stderr; events {}
         http { access_log off; ${paths} include ${folder}/snippet.conf; }`,
      );
      return ['-c', join(folder, 'nginx.conf'), '-e', 'stderr'];
    },
  },
  {
    name: 'caddy',
    prepare(port) {
      const snippet = readFileSync(join(CONTRIB, 'caddy/Caddyfile'), 'utf8')
        .replace('matrix.example.org, matrix.example.org:8448 {', `https://matrix.example.org:${port} {`)
        .replace(/# tls .*/, `tls ${files.certificate} ${files.key}`)
        .replace('127.0.0.1:8008', upstream());
      const path = join(folder, 'Caddyfile');
      writeFileSync(
        path,
        `{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system ${folder}/caddy\n}\n${snippet}`,
      );
      return ['run', '--adapter', 'caddyfile', '--config', path];
    },
  },
  {
    name: 'traefik',
    prepare(port) {
      const dynamic = parse(readFileSync(join(CONTRIB, 'traefik/hammerhead.yaml'), 'utf8'));
      dynamic.http.routers.hammerhead.tls = {};
      dynamic.http.routers.hammerhead.entryPoints = ['websecure'];
      dynamic.http.services.hammerhead.loadBalancer.servers[0].url = server.url;
      dynamic.tls = { certificates: [{ certFile: files.certificate, keyFile: files.key }] };
      const fixed = parse(readFileSync(join(CONTRIB, 'traefik/static.yaml'), 'utf8'));
      const { websecure } = fixed.entryPoints;
      const paths = { fixed: join(folder, 'traefik.yaml'), dynamic: join(folder, 'dynamic.yaml') };
      const entryPoints = { websecure: { ...websecure, address: `127.0.0.1:${port}` } };
      writeFileSync(paths.dynamic, JSON.stringify(dynamic));
      writeFileSync(paths.fixed, JSON.stringify({ entryPoints, providers: { file: { filename: paths.dynamic } } }));
      return [`--configFile=${paths.fixed}`];
    },
  },
];

interface Asked {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
  /** The address that the client has. */
  readonly from?: string;
}

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

/** Straight to the server, or to a proxy's port with TLS. */
function ask(
  port: number | undefined,
  { path, method = 'GET', headers = {}, body, from = '127.0.0.1' }: Asked,
): Promise<Answered> {
  const to = port ?? Number(new URL(server.url).port);
  const request = port === undefined ? httpRequest : httpsRequest;
  const options = {
    host: '127.0.0.1',
    port: to,
    path,
    method,
    localAddress: from,
    servername: 'matrix.example.org',
    rejectUnauthorized: false,
  };
  const sent = request({
    ...options,
    headers: { host: 'matrix.example.org', authorization: `Bearer ${token}`, ...headers },
  });
  return new Promise((resolve, reject) => {
    sent.on('error', reject);
    sent.on('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    sent.end(body);
  });
}

const json = ({ body }: Answered): unknown => JSON.parse(body.toString());

/** Where the server believes that a client's request came from: it notes the address at a login. */
async function addressOf(port: number | undefined, claimed: string, from: string): Promise<string> {
  const login = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: 'alice' },
    password: 'correct horse battery staple',
  };
  const headers = { 'x-forwarded-for': claimed };
  const opened = json(
    await ask(port, { path: '/_matrix/client/v3/login', method: 'POST', body: JSON.stringify(login), headers, from }),
  );
  const authorization = { ...headers, authorization: `Bearer ${textAt(opened, 'access_token')}` };
  await ask(port, { path: '/_matrix/client/v3/account/whoami', headers: authorization, from });
  const device = `/_matrix/client/v3/devices/${textAt(opened, 'device_id')}`;
  for (let waited = 0; waited < SEEN_TIMEOUT_MS; waited += 100) {
    const seen = at(json(await ask(undefined, { path: device })), 'last_seen_ip');
    if (typeof seen === 'string') return seen;
    await sleep(100);
  }
  throw new Error('the address was not noted');
}

for (const proxy of PROXIES) {
  const program = findProgram(proxy.name);
  const skip = program === undefined ? `${proxy.name} is not installed: contrib/${proxy.name} was NOT tested` : false;
  describe(proxy.name, { skip }, () => {
    let child: ChildProcess;
    let port: number;
    let log = '';

    before(async () => {
      port = await findFreePort();
      const options = await proxy.prepare(port);
      child = spawn(program ?? '', options, {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, HOME: folder },
      });
      for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (log += chunk));
      for (let waited = 0; ; waited += 100) {
        const answer = await ask(port, { path: '/_matrix/client/versions' }).catch(() => undefined);
        if (answer?.status === 200) return;
        if (child.exitCode !== null || waited > START_TIMEOUT_MS)
          throw new Error(`${proxy.name} did not start:\n${log}`);
        await sleep(100);
      }
    });
    after(async () => {
      if (child === undefined || child.exitCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    });

    test('passes the client API, with CORS and percent-encoded ids', async () => {
      assert.equal(
        at(json(await ask(port, { path: '/_matrix/client/v3/account/whoami' })), 'user_id'),
        '@alice:localhost',
      );
      const preflight = await ask(port, { path: '/_matrix/client/v3/sync', method: 'OPTIONS' });
      assert.equal(preflight.headers['access-control-allow-origin'], '*');
      for (const alias of ['%23a%2Fb%3Alocalhost', '%23a%252Fb%3Alocalhost']) {
        const path = `/_matrix/client/v3/directory/room/${alias}`;
        const [through, direct] = await Promise.all([ask(port, { path }), ask(undefined, { path })]);
        assert.equal(through.status, 404);
        assert.deepEqual(json(through), json(direct));
        assert.equal(at(json(through), 'errcode'), 'M_NOT_FOUND');
      }
    });

    test('passes federation and well-known paths, and not the admin API', async () => {
      for (const path of ['/_matrix/federation/v1/version', '/_matrix/key/v2/server', '/.well-known/matrix/client']) {
        const [through, direct] = await Promise.all([ask(port, { path }), ask(undefined, { path })]);
        assert.equal(through.status, direct.status);
        assert.match(String(through.headers['content-type']), /^application\/json/);
      }
      assert.equal(
        at(json(await ask(port, { path: '/.well-known/matrix/client' })), 'm.homeserver', 'base_url'),
        'https://matrix.example.org',
      );
      for (const path of ['/_hammerhead/v0/uptime', '/_synapse/admin/v1/register', '/']) {
        assert.equal((await ask(port, { path })).status, 404);
      }
      // Not by the back door either.
      const dots = await ask(port, { path: '/_matrix/../_hammerhead/v0/uptime' });
      assert.ok(!dots.body.toString().includes('started_at'));
    });

    test('holds long polls until something happens', async () => {
      const createRoom = { path: '/_matrix/client/v3/createRoom', method: 'POST', body: '{}' };
      assert.equal((await ask(port, createRoom)).status, 200);
      const since = textAt(json(await ask(port, { path: '/_matrix/client/v3/sync?timeout=0' })), 'next_batch');
      const begun = performance.now();
      const poll = await ask(port, { path: `/_matrix/client/v3/sync?since=${since}&timeout=${POLL_MS}` });
      assert.equal(poll.status, 200);
      assert.ok(performance.now() - begun > POLL_MS * 0.9);
      const waiting = ask(port, { path: `/_matrix/client/v3/sync?since=${since}&timeout=30000` });
      await ask(port, createRoom);
      assert.equal(Object.keys(Object(at(json(await waiting), 'rooms', 'join'))).length, 1);
    });

    test('passes large uploads and downloads unchanged', async () => {
      const content = randomBytes(UPLOAD_BYTES);
      const headers = { 'content-type': 'application/octet-stream' };
      const uploaded = await ask(port, { path: '/_matrix/media/v3/upload', method: 'POST', headers, body: content });
      assert.equal(uploaded.status, 200, uploaded.body.toString().slice(0, 200));
      const id = textAt(json(uploaded), 'content_uri').slice('mxc://'.length);
      const downloaded = await ask(port, { path: `/_matrix/client/v1/media/download/${id}` });
      assert.equal(hash('sha256', downloaded.body), hash('sha256', content));
    });

    test('E9: tells who the client is, whatever the client claims', async () => {
      // The second goes past the proxy, from an address that is not trusted.
      const seen = await Promise.all([
        addressOf(port, '6.6.6.6', '127.0.0.2'),
        addressOf(undefined, '6.6.6.6', '127.0.0.3'),
      ]);
      assert.deepEqual(seen, ['127.0.0.2', '127.0.0.3']);
    });
  });
}
