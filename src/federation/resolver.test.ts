import assert from 'node:assert/strict';
import type { SrvRecord } from 'node:dns';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createTestClock, type TestClock } from '../../test/support/test-clock.ts';
import { isServerName, parseServerName, type ServerName } from '../protocol/ids.ts';
import type { TransportAnswer } from './collect-answer.ts';
import { FederationError, isFinal, mayPass } from './federation-error.ts';
import { createResolver } from './resolver.ts';
import type { TransportRequest } from './transport.ts';
import { createWellKnown, parseWellKnown } from './well-known.ts';

interface World {
  readonly clock: TestClock;
  /** By host: an answer, or a failure. */
  readonly wellKnown: Map<string, Partial<TransportAnswer> | FederationError>;
  readonly srv: Map<string, readonly SrvRecord[]>;
  readonly asked: string[];
  resolve(name: string): Promise<readonly string[]>;
}

function createWorld(): World {
  const clock = createTestClock();
  const wellKnown: World['wellKnown'] = new Map();
  const srv: World['srv'] = new Map();
  const asked: string[] = [];
  const transport = {
    async send({ target, path }: TransportRequest): Promise<TransportAnswer> {
      const url = `https://${target.hostHeader}${path}`;
      asked.push(url);
      const answer = wellKnown.get(target.hostHeader) ?? wellKnown.get(url) ?? mayPass('unreachable', 'nobody there');
      if (answer instanceof FederationError) throw answer;
      return { status: 200, headers: {}, body: Buffer.from('{}'), ...answer };
    },
  };
  const resolver = createResolver({
    clock,
    wellKnown: createWellKnown({ transport, clock }),
    async resolveSrv(name) {
      asked.push(name);
      const records = srv.get(name);
      if (records === undefined) throw Object.assign(new Error('no record'), { code: 'ENOTFOUND' });
      return records;
    },
  });
  return {
    clock,
    wellKnown,
    srv,
    asked,
    async resolve(name) {
      const targets = await resolver.resolve(serverName(name));
      return targets.map(({ host, port, hostHeader }) => `${host} ${port} ${hostHeader}`);
    },
  };
}

function serverName(text: string): ServerName {
  return parseServerName(text) ?? assert.fail(`${text} is no server name`);
}

const delegating = (to: string, headers: TransportAnswer['headers'] = {}) => ({
  headers,
  body: Buffer.from(JSON.stringify({ 'm.server': to })),
});

const record = (name: string, port: number, priority = 1, weight = 1): SrvRecord => ({ name, port, priority, weight });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('finding a server', () => {
  test('limit 12: addresses and explicit ports are taken as they are, without asking anybody', async () => {
    const world = createWorld();
    assert.deepEqual(await world.resolve('1.2.3.4'), ['1.2.3.4 8448 1.2.3.4']);
    assert.deepEqual(await world.resolve('1.2.3.4:80'), ['1.2.3.4 80 1.2.3.4:80']);
    assert.deepEqual(await world.resolve('[2001:db8::1]'), ['2001:db8::1 8448 [2001:db8::1]']);
    assert.deepEqual(await world.resolve('[2001:db8::1]:443'), ['2001:db8::1 443 [2001:db8::1]:443']);
    assert.deepEqual(await world.resolve('a.example:8000'), ['a.example 8000 a.example:8000']);
    assert.deepEqual(world.asked, []);
  });

  test('limit 12: names that lead nowhere end in a decision', async () => {
    const world = createWorld();
    for (const name of ['a.example:0', '[12]', '[:::1]:8448']) {
      await assert.rejects(
        world.resolve(name),
        (cause) => cause instanceof FederationError && cause.outcome.kind === 'fail',
      );
    }
  });

  test('limit 12: the order is well-known, the two SRV records, port 8448', async () => {
    const world = createWorld();
    assert.deepEqual(await world.resolve('a.example'), ['a.example 8448 a.example']);
    assert.deepEqual(world.asked, [
      'https://a.example/.well-known/matrix/server',
      '_matrix-fed._tcp.a.example',
      '_matrix._tcp.a.example',
    ]);
    const legacy = createWorld();
    legacy.srv.set('_matrix._tcp.a.example', [record('old.example', 1)]);
    assert.deepEqual(await legacy.resolve('a.example'), ['old.example 1 a.example']);
    legacy.srv.set('_matrix-fed._tcp.b.example', [record('new.example', 2)]);
    legacy.srv.set('_matrix._tcp.b.example', [record('old.example', 1)]);
    assert.deepEqual(await legacy.resolve('b.example'), ['new.example 2 b.example']);
  });

  test('limit 12: what well-known delegates to is followed, and its name is what the certificate has to prove', async () => {
    const world = createWorld();
    world.wellKnown.set('a.example', delegating('b.example:443'));
    assert.deepEqual(await world.resolve('a.example'), ['b.example 443 b.example:443']);
    world.wellKnown.set('c.example', delegating('1.2.3.4'));
    assert.deepEqual(await world.resolve('c.example'), ['1.2.3.4 8448 1.2.3.4']);
    world.wellKnown.set('d.example', delegating('e.example'));
    world.srv.set('_matrix-fed._tcp.e.example', [record('srv.example', 7)]);
    assert.deepEqual(await world.resolve('d.example'), ['srv.example 7 e.example']);
    world.wellKnown.set('f.example', delegating('g.example'));
    // A delegated name is not delegated again.
    world.wellKnown.set('g.example', delegating('h.example'));
    assert.deepEqual(await world.resolve('f.example'), ['g.example 8448 g.example']);
  });

  test('SRV records are tried by priority, a few of them, and only where they name a host', async () => {
    const world = createWorld();
    world.srv.set('_matrix-fed._tcp.a.example', [
      record('backup.example', 3, 20),
      record('light.example', 2, 10, 1),
      record('heavy.example.', 1, 10, 9),
      record('.', 4, 1),
      record('10.0.0.1', 5, 1),
      record('zero.example', 0, 1),
      ...Array.from({ length: 20 }, (_, index) => record(`n${index}.example`, 9, 90 + index)),
    ]);
    assert.deepEqual(await world.resolve('a.example'), [
      'heavy.example 1 a.example',
      'light.example 2 a.example',
      'backup.example 3 a.example',
      'n0.example 9 a.example',
    ]);
  });

  test('asking twice at the same time asks once, and both negative answers are remembered', async () => {
    const world = createWorld();
    await Promise.all([world.resolve('a.example'), world.resolve('a.example'), world.resolve('a.example')]);
    assert.equal(world.asked.length, 3);
    world.clock.advance(4 * MINUTE);
    await world.resolve('a.example');
    assert.equal(world.asked.length, 3);
    world.clock.advance(2 * MINUTE);
    await world.resolve('a.example');
    assert.equal(world.asked.length, 5, 'SRV after five minutes, well-known not yet');
    world.clock.advance(HOUR);
    await world.resolve('a.example');
    assert.equal(world.asked.length, 8);
  });
});

describe('well-known of servers', () => {
  test('a name of digits that is no address has none, and is no fault', async () => {
    for (const name of ['9007199254740993', '4294967296', '1.2.3.4.5', '0x100000000', '1.2.3.256']) {
      const world = createWorld();
      assert.deepEqual(await world.resolve(name), [`${name} 8448 ${name}`]);
      assert.ok(!world.asked.some((asked) => asked.startsWith('https:')), name);
    }
  });

  test('limit 13: an answer is kept as long as it says, between five minutes and 48 hours', async () => {
    const cases: readonly (readonly [TransportAnswer['headers'], number])[] = [
      [{}, 24 * HOUR],
      [{ 'cache-control': 'public, max-age=600' }, 10 * MINUTE],
      [{ 'cache-control': 'max-age=1' }, 5 * MINUTE],
      [{ 'cache-control': 'no-store' }, 5 * MINUTE],
      [{ 'cache-control': 'max-age=999999999' }, 48 * HOUR],
      [{ expires: new Date(1_700_000_000_000 + 2 * HOUR).toUTCString() }, 2 * HOUR],
      [{ expires: 'never' }, 24 * HOUR],
    ];
    for (const [headers, kept] of cases) {
      const world = createWorld();
      world.wellKnown.set('a.example', delegating('b.example:1', headers));
      await world.resolve('a.example');
      world.clock.advance(kept - 1_000);
      await world.resolve('a.example');
      assert.equal(world.asked.length, 1, JSON.stringify(headers));
      world.clock.advance(2_000);
      await world.resolve('a.example');
      assert.equal(world.asked.length, 2, JSON.stringify(headers));
    }
  });

  test('limit 13: what is no answer counts as none, for an hour', async () => {
    const bodies = [
      '',
      '{',
      '[]',
      '{"m.server":1}',
      '{"m.server":"a b"}',
      '{"m.server":"a:http"}',
      `{"m.server":"${'a'.repeat(300)}"}`,
    ];
    for (const answer of [
      ...bodies.map((body) => ({ body: Buffer.from(body) })),
      { body: Buffer.from([0xff, 0xfe]) },
      { body: Buffer.from(`${'['.repeat(40)}${']'.repeat(40)}`) },
      { status: 404, ...delegating('b.example:1') },
      isFinal('too_large', 'more than it may have'),
    ]) {
      const world = createWorld();
      world.wellKnown.set('a.example', answer);
      assert.deepEqual(await world.resolve('a.example'), ['a.example 8448 a.example']);
      world.clock.advance(HOUR - MINUTE);
      world.wellKnown.set('a.example', delegating('b.example:1'));
      assert.deepEqual(await world.resolve('a.example'), ['a.example 8448 a.example']);
      world.clock.advance(2 * MINUTE);
      assert.deepEqual(await world.resolve('a.example'), ['b.example 1 b.example:1']);
    }
  });

  test('limit 13: a host that delegated and is out for a moment still delegates, but not for ever', async () => {
    const world = createWorld();
    world.wellKnown.set('a.example', delegating('b.example:1', { 'cache-control': 'max-age=600' }));
    await world.resolve('a.example');
    world.clock.advance(11 * MINUTE);
    world.wellKnown.set('a.example', { status: 502 });
    assert.deepEqual(await world.resolve('a.example'), ['b.example 1 b.example:1']);
    assert.deepEqual(await world.resolve('a.example'), ['b.example 1 b.example:1']);
    assert.equal(world.asked.length, 2, 'asked again after two minutes only');
    world.clock.advance(48 * HOUR);
    assert.deepEqual(await world.resolve('a.example'), ['a.example 8448 a.example']);
  });

  test('limit 13: nothing that a host may answer makes reading throw', () => {
    const text = fc.oneof(
      fc.json(),
      fc.jsonValue().map((value) => JSON.stringify({ 'm.server': value })),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), text), (body) => {
        const delegated = parseWellKnown(Buffer.from(body));
        if (delegated !== undefined) assert.ok(isServerName(delegated));
      }),
    );
  });

  test('C8: redirects are followed five times, to https only, and loops end', async () => {
    const moved = (location: string) => ({ status: 302, headers: { location } });
    const world = createWorld();
    world.wellKnown.set('a.example', moved('https://b.example/elsewhere?x=1'));
    world.wellKnown.set('https://b.example/elsewhere?x=1', moved('/again'));
    world.wellKnown.set('https://b.example/again', delegating('c.example:1'));
    assert.deepEqual(await world.resolve('a.example'), ['c.example 1 c.example:1']);
    world.wellKnown.set('loop.example', moved('https://loop.example/.well-known/matrix/server'));
    world.asked.length = 0;
    assert.deepEqual(await world.resolve('loop.example'), ['loop.example 8448 loop.example']);
    assert.equal(world.asked.filter((url) => url.startsWith('https:')).length, 6);
    for (const location of ['http://d.example/', 'ftp://d.example/', 'https://u:p@d.example/', 'file:///etc/passwd']) {
      const other = createWorld();
      other.wellKnown.set('d.example', moved(location));
      await other.resolve('d.example');
      assert.equal(other.asked.filter((url) => url.includes('://')).length, 1, location);
    }
  });
});
