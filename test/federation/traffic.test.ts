/**
 * The whole way out: a room's event, typing and a receipt, signed and sent over TLS to a server that checks them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTyping } from '../../src/ephemeral/typing.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { createMetrics } from '../../src/lib/metrics.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { EventId, UserId } from '../../src/protocol/ids.ts';
import { parseXMatrix, requestSigningText } from '../../src/protocol/request-signing.ts';
import { createSigningKey } from '../../src/protocol/signing.ts';
import { createFederation, createFederationTraffic } from '../../src/server-federation.ts';
import { receiptStream } from '../../src/storage/receipts.ts';
import { createTestAuthority } from '../support/certificates.ts';
import { ALICE, createPublicRoom, createTestEngine, member, message, SERVER } from '../support/engine.ts';
import { startScriptedServer } from '../support/federation.ts';
import { at, listAt } from '../support/json.ts';

interface Received {
  readonly path: string;
  readonly isSigned: boolean;
  readonly body: unknown;
}

test('events, typing and receipts arrive signed', async () => {
  await using authority = await createTestAuthority();
  await using peer = await startScriptedServer(authority);
  const signingKey = createSigningKey(secureRandom.bytes(32), 'ours');
  const received: Received[] = [];
  peer.handle = async (request, response) => {
    const content = (await request.toArray()).join('');
    const header = parseXMatrix(request.headers.authorization ?? '');
    const text = requestSigningText({
      method: request.method ?? '',
      uri: request.url ?? '',
      origin: SERVER,
      destination: peer.serverName,
      content,
    });
    const isSigned = header?.origin === SERVER && header.signature === signingKey.sign(text);
    received.push({ path: request.url ?? '', isSigned, body: JSON.parse(content) });
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"pdus":{}}');
  };
  await using stack = new AsyncDisposableStack();
  const engine = stack.use(await createTestEngine());
  const federation = stack.use(
    await createFederation({
      settings: {
        enabled: true,
        allow: [],
        deny: [],
        allowedNetworks: ['127.0.0.0/8'],
        deniedNetworks: [],
        certificates: [authority.certificate],
        trustedKeyServers: [],
      },
      database: engine.db.database,
      clock: systemClock,
      logger: silentLogger,
      serverName: SERVER,
      signingKey,
      userAgent: 'test',
    }),
  );
  const typing = stack.use(createTyping({ clock: systemClock, boot: 'a' }));
  const { hub, committer } = engine;
  const traffic = stack.use(
    await createFederationTraffic({
      ...federation,
      engine: engine.engine,
      typing,
      presenceParts: undefined,
      hub,
      committer,
      random: secureRandom,
      metrics: createMetrics(),
    }),
  );
  const roomId = await createPublicRoom(engine);
  const remote = `@x:${peer.serverName}` as UserId;
  await engine.engine.send({ roomId, decide: () => [member(remote, 'join')] });
  await traffic.sender.idle();

  await engine.engine.send({ roomId, decide: () => [message('hello')] });
  await traffic.sender.idle();
  typing.start(roomId, ALICE);
  typing.start(roomId, remote);
  await traffic.sender.idle();
  const receipt = { roomId, userId: ALICE, eventId: '$e' as EventId, eventPosition: 1, threadId: undefined, ts: 5 };
  for (const type of ['m.read', 'm.read.private'] as const) {
    await committer.commit({ facts: [{ table: receiptStream, row: { ...receipt, type } }] });
  }
  typing.stop(roomId, ALICE);
  const edus = (): readonly unknown[] => received.flatMap(({ body }) => listAt(body, 'edus'));
  for (let waited = 0; edus().length < 3 && waited < 5_000; waited += 20) await sleep(20);
  await traffic.sender.idle();

  assert.ok(received.every(({ isSigned }) => isSigned));
  assert.ok(received.every(({ path }) => /^\/_matrix\/federation\/v1\/send\/[\w-]+$/.test(path)));
  const bodies = received.flatMap(({ body }) => listAt(body, 'pdus').map((pdu) => at(pdu, 'content', 'body')));
  assert.deepEqual(bodies, ['hello']);
  const told = edus().map((edu) => [at(edu, 'edu_type'), at(edu, 'content', 'typing'), at(edu, 'content', 'user_id')]);
  assert.deepEqual(told.toSorted(), [
    ['m.receipt', undefined, undefined],
    ['m.typing', false, ALICE],
    ['m.typing', true, ALICE],
  ]);
  const [read] = edus().filter((edu) => at(edu, 'edu_type') === 'm.receipt');
  assert.deepEqual(at(read, 'content', roomId, 'm.read', ALICE), { data: { ts: 5 }, event_ids: ['$e'] });
});
