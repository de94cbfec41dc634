/**
 * The doctor: each judgement by a table, DNS and certificates included, and the whole on real servers, running and stopped.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { judgeClock, judgeFacts } from '../../src/cli/doctor/database.ts';
import { checkDelegation } from '../../src/cli/doctor/delegation.ts';
import { judgeSpace } from '../../src/cli/doctor/disk.ts';
import { renderFindings } from '../../src/cli/doctor/doctor.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { judgeCertificate } from '../../src/cli/doctor/listeners.ts';
import { type Network, systemNetwork } from '../../src/cli/doctor/network.ts';
import { createSigningKey } from '../../src/protocol/signing.ts';
import { withClient } from '../../src/storage/connection.ts';
import { makeCertificate } from '../support/certificates.ts';
import { hammerhead } from '../support/cli.ts';
import { createTestDatabase } from '../support/database.ts';
import { findFreePort, startServer } from '../support/server-process.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-doctor-'));
  chmodSync(folder, 0o755);
});
after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

const levels = (findings: readonly Finding[]): string =>
  findings.map(({ level, check }) => `${check} ${level}`).join(', ');

describe('database', () => {
  const good = {
    versionNumber: 180_004,
    version: '18.4',
    encoding: 'UTF8',
    collation: 'C',
    collationVersion: undefined,
    actualCollationVersion: undefined,
    settings: { fsync: 'on', full_page_writes: 'on', synchronous_commit: 'on' },
    maxConnections: 100,
    bytes: 10_000_000,
    now: 0,
    identity: undefined,
  };
  const cases: readonly [string, object, string][] = [
    ['a good one', {}, 'database ok'],
    ['an old PostgreSQL', { versionNumber: 140_009 }, 'database fail'],
    ['an encoding that lacks characters', { encoding: 'SQL_ASCII' }, 'database fail'],
    [
      'a library that sorts otherwise now',
      { collationVersion: '2.31', actualCollationVersion: '2.36' },
      'database warn',
    ],
    [
      'commits that do not wait for the disk',
      { settings: { ...good.settings, synchronous_commit: 'off' } },
      'database warn',
    ],
    ['fsync off', { settings: { ...good.settings, fsync: 'off' } }, 'database warn'],
    ['fewer connections than the pool wants', { maxConnections: 20 }, 'database warn'],
  ];
  for (const [name, change, expected] of cases) {
    test(name, () => assert.equal(levels(judgeFacts({ ...good, ...change }, 20)), expected));
  }

  test('the clocks differ', () => {
    assert.deepEqual(
      [0, 999, -1_001, 61_000].map((difference) => judgeClock(difference).level),
      ['ok', 'ok', 'warn', 'fail'],
    );
    assert.match(judgeClock(-5_000).message, /5\.0 s behind/);
  });
});

test('disk space and inodes', () => {
  const space = (free: number, freeInodes: number | undefined = 1) => judgeSpace('/data', { free, freeInodes }).level;
  assert.deepEqual(
    [space(1e11), space(1e9), space(1e8), space(1e11, 0.01), space(1e11, undefined)],
    ['ok', 'warn', 'fail', 'warn', 'ok'],
  );
});

describe('certificates', () => {
  const judge = (name: string, files: { certificate: string; key: string }, now = Date.now()): Finding =>
    judgeCertificate({
      path: 'x.pem',
      pem: readFileSync(files.certificate, 'utf8'),
      keyPem: readFileSync(files.key, 'utf8'),
      name,
      now,
    });

  test('name, age, and key', () => {
    const good = makeCertificate({ folder, name: 'good', names: 'DNS:example.org,DNS:*.example.org,IP:127.0.0.1' });
    const other = makeCertificate({ folder, name: 'other', names: 'DNS:other.org' });
    const day = 86_400_000;
    assert.equal(judge('example.org', good).level, 'ok');
    assert.equal(judge('matrix.example.org', good).level, 'ok');
    assert.equal(judge('127.0.0.1', good).level, 'ok');
    assert.match(judge('example.com', good).message, /not for example\.com but for DNS:example\.org/);
    assert.match(judge('example.org', { ...good, key: other.key }).message, /key belongs to another/);
    assert.match(judge('example.org', good, Date.now() + 80 * day).message, /expires in 9 days|expires in 10 days/);
    assert.match(judge('example.org', good, Date.now() + 91 * day).message, /has expired/);
    assert.match(judge('example.org', good, Date.now() - 2 * day).message, /not valid yet/);
  });
});

describe('delegation', () => {
  interface World {
    readonly texts?: Readonly<Record<string, string>>;
    readonly srv?: Readonly<Record<string, { name: string; port: number }>>;
    readonly hosts?: readonly string[];
    /** What is wrong with the certificate at HOST:PORT for NAME; nobody answers at others. */
    readonly tls?: Readonly<Record<string, string | undefined>>;
    /** What the key document says; this server's by default. */
    readonly keys?: string;
  }
  const network = ({ texts = {}, srv = {}, hosts = [], tls = {}, keys }: World): Network => ({
    async resolveSrv(name) {
      const record = srv[name];
      if (record === undefined) throw new Error('ENOTFOUND');
      return [record];
    },
    async resolveAddresses(host) {
      if (!hosts.includes(host)) throw new Error('ENOTFOUND');
      return ['192.0.2.1'];
    },
    async fetchText(url) {
      const text = texts[url];
      return text === undefined ? { status: 404, text: '' } : { status: 200, text };
    },
    async tryTls({ host, port, name }) {
      const place = `${host}:${port} for ${name}`;
      if (!(place in tls)) throw new Error('ECONNREFUSED');
      return tls[place];
    },
    async fetchKeys() {
      if (keys === undefined) throw new Error('status 502');
      return keys;
    },
  });
  const server = 'https://example.org/.well-known/matrix/server';
  const client = 'https://example.org/.well-known/matrix/client';
  const hosts = ['example.org', 'm.example.org'];
  const good = undefined;
  interface Case {
    readonly name: string;
    readonly serverName?: string;
    readonly wellKnown?: { readonly client?: string; readonly server?: string };
    readonly world: World;
    readonly expected: string;
  }
  const cases: readonly Case[] = [
    { name: 'localhost', serverName: 'localhost:8448', world: {}, expected: 'delegation warn' },
    {
      name: 'nothing but an address and port 8448',
      world: { hosts, tls: { 'example.org:8448 for example.org': good } },
      expected: 'dns ok, delegation ok',
    },
    {
      name: 'a port in the name',
      serverName: 'example.org:443',
      world: { hosts, tls: { 'example.org:443 for example.org': good } },
      expected: 'dns ok, delegation ok',
    },
    {
      name: 'an IP address',
      serverName: '192.0.2.1',
      world: { tls: { '192.0.2.1:8448 for 192.0.2.1': good } },
      expected: 'delegation ok',
    },
    {
      name: 'an IPv6 address with a port',
      serverName: '[2001:db8::1]:443',
      world: { tls: { '2001:db8::1:443 for 2001:db8::1': good } },
      expected: 'delegation ok',
    },
    { name: 'a name without address', world: {}, expected: 'dns fail' },
    {
      name: 'a well-known file with a port',
      world: {
        hosts,
        texts: { [server]: '{"m.server":"m.example.org:443"}' },
        tls: { 'm.example.org:443 for m.example.org': good },
      },
      expected: 'delegation ok, dns ok, delegation ok',
    },
    {
      name: 'a well-known file without port, then SRV',
      world: {
        hosts: [...hosts, 'srv.example.org'],
        texts: { [server]: '{"m.server":"m.example.org"}' },
        srv: { '_matrix-fed._tcp.m.example.org': { name: 'srv.example.org', port: 9000 } },
        tls: { 'srv.example.org:9000 for m.example.org': good },
      },
      expected: 'delegation ok, dns ok, dns ok, delegation ok',
    },
    {
      name: 'the old kind of SRV record',
      world: {
        hosts,
        srv: { '_matrix._tcp.example.org': { name: 'm.example.org', port: 443 } },
        tls: { 'm.example.org:443 for example.org': good },
      },
      expected: 'dns ok, dns warn, dns ok, delegation ok',
    },
    {
      name: 'a well-known file that is none',
      world: { hosts, texts: { [server]: '<html>' } },
      expected: 'delegation fail',
    },
    {
      name: 'another well-known file than configured',
      wellKnown: { server: 'm.example.org:443' },
      world: {
        hosts,
        texts: { [server]: '{"m.server":"m.example.org:8448"}' },
        tls: { 'm.example.org:8448 for m.example.org': good },
      },
      expected: 'delegation warn, dns ok, delegation ok',
    },
    {
      name: 'well-known files that are configured and not served',
      wellKnown: { server: 'm.example.org:443', client: 'https://m.example.org' },
      world: { hosts, tls: { 'example.org:8448 for example.org': good } },
      expected: 'delegation warn, dns ok, delegation warn, delegation ok',
    },
    {
      name: 'clients that are sent where they should be',
      wellKnown: { client: 'https://m.example.org' },
      world: {
        hosts,
        texts: { [client]: '{"m.homeserver":{"base_url":"https://m.example.org/"}}' },
        tls: { 'example.org:8448 for example.org': good },
      },
      expected: 'dns ok, delegation ok, delegation ok',
    },
    {
      name: 'clients that are sent elsewhere',
      wellKnown: { client: 'https://m.example.org' },
      world: {
        hosts,
        texts: { [client]: '{"m.homeserver":{"base_url":"https://x.org"}}' },
        tls: { 'example.org:8448 for example.org': good },
      },
      expected: 'dns ok, delegation warn, delegation ok',
    },
    { name: 'a port that does not answer from here', world: { hosts }, expected: 'dns ok, delegation warn' },
    {
      name: 'a certificate that nobody trusts',
      world: { hosts, tls: { 'example.org:8448 for example.org': 'SELF_SIGNED' } },
      expected: 'dns ok, delegation fail',
    },
  ];
  for (const { name, serverName = 'example.org', wellKnown = {}, world, expected } of cases) {
    test(name, async () => {
      const config = { serverName, wellKnown: { client: undefined, server: undefined, ...wellKnown } };
      assert.equal(levels(await checkDelegation(config, network(world), undefined)), expected);
    });
  }

  test('whether it is this server that answers there: its key document says so', async () => {
    const key = createSigningKey(Buffer.alloc(32, 3), 'here');
    const document = (name: string, verify: object): string =>
      JSON.stringify({ server_name: name, verify_keys: verify });
    const own = { [key.keyId]: { key: key.publicKey } };
    const config = { serverName: 'example.org', wellKnown: { client: undefined, server: undefined } };
    for (const [keys, message] of [
      [document('example.org', own), 'example.org:8448 shows the signing key of this server'],
      [document('example.com', own), 'example.org:8448 shows keys of example.com'],
      [document('example.org', { 'ed25519:x': { key: key.publicKey } }), `not the key ${key.keyId} of this server`],
      [document('example.org', { [key.keyId]: { key: 'other' } }), `not the key ${key.keyId} of this server`],
      ['<html>', 'shows keys of no server'],
      [undefined, 'shows no signing keys: status 502'],
    ] as const) {
      const world = { hosts, tls: { 'example.org:8448 for example.org': good }, ...(keys !== undefined && { keys }) };
      const finding = (await checkDelegation(config, network(world), key)).at(-1);
      assert.ok(finding?.message.includes(message) === true, `${message}: ${finding?.message}`);
      assert.equal(finding?.level, message.endsWith('of this server') && !message.startsWith('not') ? 'ok' : 'fail');
    }
    assert.equal(levels(await checkDelegation(config, network({ hosts }), key)), 'dns ok, delegation warn');
  });

  test('the real network: a certificate that nobody trusts, nobody there, no such name', async () => {
    const files = makeCertificate({ folder, name: 'tls', names: 'DNS:localhost' });
    const options = { cert: readFileSync(files.certificate), key: readFileSync(files.key) };
    const listener = createTlsServer(options, (_request, response) => response.end('{}')).listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const port = Object(listener.address()).port;
    assert.match(String(await systemNetwork.tryTls({ host: '127.0.0.1', port, name: 'localhost' })), /SELF_SIGNED/);
    const place = { host: '127.0.0.1', port, name: 'localhost', hostHeader: 'localhost' };
    assert.equal(await systemNetwork.fetchKeys(place), '{}');
    await assert.rejects(systemNetwork.fetchText(`https://127.0.0.1:${port}/`));
    listener.close();
    listener.closeAllConnections();
    await assert.rejects(systemNetwork.tryTls({ host: '127.0.0.1', port: 1, name: 'localhost' }), /ECONNREFUSED/);
    await assert.rejects(systemNetwork.resolveAddresses('no-such-host.invalid'));
  });
});

describe('the whole', () => {
  const examine = async (config: string) => {
    const { status, stdout, stderr } = await hammerhead(['doctor', '--json', '--config', config]);
    assert.equal(stderr, '');
    const report: { healthy: boolean; findings: Finding[] } = JSON.parse(stdout);
    assert.equal(report.healthy, status === 0);
    for (const { level, remedy } of report.findings) assert.equal(remedy === undefined, level === 'ok');
    const find = (check: string) => report.findings.filter((finding) => finding.check === check);
    return { status, findings: report.findings, find };
  };

  test('a healthy server, running and stopped; nothing stays behind', async () => {
    await using server = await startServer();
    const config = join(server.directory, 'config.yaml');
    const running = await examine(config);
    assert.equal(running.status, 0, JSON.stringify(running.findings));
    assert.match(running.find('ports')[0]?.message ?? '', /Hammerhead answers at/);
    assert.equal(levels(running.find('identity')), 'identity ok');
    assert.equal(await server.stop(), 0);
    const stopped = await examine(config);
    assert.equal(stopped.status, 0, JSON.stringify(stopped.findings));
    assert.match(stopped.find('ports')[0]?.message ?? '', /is free/);
    await server.start();
  });

  test('no configuration, a broken one, and one that nothing was started with', async () => {
    assert.match((await examine(join(folder, 'missing.yaml'))).findings[0]?.message ?? '', /config init/);
    const broken = join(folder, 'broken.yaml');
    writeFileSync(broken, 'server_nam: x');
    assert.equal(levels((await examine(broken)).findings), 'config fail');
    const fresh = join(folder, 'fresh.yaml');
    writeFileSync(fresh, `data_dir: ./nothing-here\nlisteners: [{ port: ${await findFreePort()} }]`);
    const { status, find } = await examine(fresh);
    assert.equal(status, 0);
    assert.match(find('database')[0]?.message ?? '', /none yet/);
  });

  test('a port that another program has', async () => {
    const stranger = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    const config = join(folder, 'taken.yaml');
    writeFileSync(config, `data_dir: ./taken\nlisteners: [{ port: ${Object(stranger.address()).port} }]`);
    const { status, find } = await examine(config);
    stranger.close();
    stranger.closeAllConnections();
    assert.equal(status, 1);
    assert.match(find('ports')[0]?.message ?? '', /another program answers/);
  });

  test('secrets that everybody reads, a signing key that is none, folders that everybody writes', async () => {
    const config = join(folder, 'open.yaml');
    const port = await findFreePort();
    writeFileSync(join(folder, 'secret.txt'), 'a secret of some length', { mode: 0o644 });
    mkdirSync(join(folder, 'open'));
    writeFileSync(join(folder, 'open', 'signing.key'), 'nonsense', { mode: 0o600 });
    const text = `data_dir: ./open\nlisteners: [{ port: ${port} }]\nregistration: { shared_secret_file: ./secret.txt, token: abc }`;
    writeFileSync(config, text, { mode: 0o644 });
    chmodSync(join(folder, 'open'), 0o777);
    const { find } = await examine(config);
    const messages = find('permissions').map(({ message }) => message);
    assert.deepEqual(
      messages.map((message) => /(config|open\.yaml|secret\.txt|open)/.exec(message.split('/').at(-1) ?? '')?.[0]),
      ['open.yaml', 'secret.txt', 'open'],
    );
    assert.equal(levels(find('signing-key')), 'signing-key fail');
    chmodSync(config, 0o600);
    chmodSync(join(folder, 'secret.txt'), 0o640);
    chmodSync(join(folder, 'open'), 0o700);
    assert.equal(levels((await examine(config)).find('permissions')), 'permissions ok');
  });

  test('a database of another server, with another schema, and one that does not answer', async () => {
    await using db = await createTestDatabase();
    const config = join(folder, 'foreign.yaml');
    writeFileSync(
      config,
      JSON.stringify({
        data_dir: './foreign',
        listeners: [{ port: await findFreePort() }],
        database: { url: db.connection },
      }),
      { mode: 0o600 },
    );
    await withClient(db.connection, async (client) => {
      await client.query("insert into server_identity values (true, 'other.org', 'ed25519:a', 'x', 0)");
      await client.query('delete from schema_migrations where version = (select max(version) from schema_migrations)');
    });
    const { status, find } = await examine(config);
    assert.equal(status, 1);
    assert.match(find('identity')[0]?.message ?? '', /the database belongs to other\.org/);
    assert.equal(levels(find('schema')), 'schema warn');
    writeFileSync(
      config,
      JSON.stringify({ data_dir: './foreign', database: { url: 'postgresql://u:hunter2@127.0.0.1:1/d' } }),
    );
    const down = await examine(config);
    assert.match(down.find('database')[0]?.message ?? '', /can't be reached/);
    assert.ok(!JSON.stringify(down.findings).includes('hunter2'));
  });

  test('a listener with TLS', async () => {
    const { certificate, key } = makeCertificate({ folder, name: 'listener', names: 'DNS:example.org' });
    const config = join(folder, 'tls.yaml');
    writeFileSync(
      config,
      JSON.stringify({ data_dir: './tls', listeners: [{ port: await findFreePort(), tls: { certificate, key } }] }),
      { mode: 0o600 },
    );
    assert.match(
      (await examine(config)).find('tls')[0]?.message ?? '',
      /is not for localhost but for DNS:example\.org/,
    );
    appendFileSync(certificate, 'x');
    writeFileSync(key, 'no key');
    assert.equal(levels((await examine(config)).find('tls')), 'tls fail');
  });

  test('for people: a line each, and the remedy below it', () => {
    const lines = renderFindings([{ level: 'warn', check: 'disk', message: 'little', remedy: 'make room' }], false);
    assert.deepEqual(lines, ['warn  disk  little', '            -> make room', '0 failed, 1 warnings']);
  });
});
