/**
 * What feeds a sync, over HTTP: statuses and error codes, and that what was set comes back.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAccountDataEndpoints } from '../../src/api/client/account-data.ts';
import { createFilterEndpoints } from '../../src/api/client/filter.ts';
import { createNotificationEndpoints } from '../../src/api/client/notifications.ts';
import { createPresenceEndpoints } from '../../src/api/client/presence.ts';
import { createPushRuleEndpoints } from '../../src/api/client/push-rules.ts';
import { createPusherEndpoints } from '../../src/api/client/pushers.ts';
import { createReadMarkerEndpoints } from '../../src/api/client/read-markers.ts';
import { createReceiptEndpoints } from '../../src/api/client/receipts.ts';
import { createSyncEndpoints } from '../../src/api/client/sync.ts';
import { createTagEndpoints } from '../../src/api/client/tags.ts';
import { createTypingEndpoints } from '../../src/api/client/typing.ts';
import { createVoipEndpoints } from '../../src/api/client/voip.ts';
import { createRateLimiter } from '../../src/http/rate-limiter.ts';
import { createHttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { secureRandom } from '../../src/lib/random.ts';
import { createPushers } from '../../src/push/pushers.ts';
import { ALICE, BOB, createPublicRoom, createTestEngine, member, message } from '../support/engine.ts';
import { listAt, textAt, at as valueAt } from '../support/json.ts';
import { TestUser, userId } from '../support/rooms-server.ts';
import { createTestSync } from '../support/sync.ts';

async function start() {
  const at = await createTestEngine();
  const client = createTestSync(at);
  const { sync, typing, receipts, accountData, pushRules, notifications, presence, sharedRooms } = client;
  const pushers = createPushers({
    database: at.db.database,
    getPosition: () => at.committer.position,
    allowsHttp: false,
  });
  const http = createHttpServer({
    endpoints: [
      ...createSyncEndpoints({ sync }),
      ...createFilterEndpoints(sync),
      ...createTypingEndpoints({ typing, rooms: at.engine }),
      ...createReceiptEndpoints({ receipts }),
      ...createReadMarkerEndpoints({ receipts }),
      ...createAccountDataEndpoints({ accountData, pushRules }),
      ...createTagEndpoints({ accountData }),
      ...createPushRuleEndpoints({ pushRules }),
      ...createNotificationEndpoints({ notifications, writerId: 1, clock: systemClock }),
      ...createPresenceEndpoints({ presence, sharedRooms, clock: systemClock }),
      ...createPusherEndpoints({ pushers }),
      ...createVoipEndpoints(),
    ],
    listeners: [{ address: '127.0.0.1', port: 0 }],
    authenticator: {
      authenticate({ authorization = '' }) {
        const name = authorization.replace('Bearer ', '');
        const user = { userId: userId(name), deviceId: 'DEVICE', accountId: 1 };
        return { ...user, isGuest: false, isSuspended: false };
      },
    },
    rateLimiter: createRateLimiter({ clock: systemClock, limits: {} }),
    logger: silentLogger,
    clock: systemClock,
    random: secureRandom,
  });
  await http.listen();
  const url = http.addresses()[0] ?? '';
  return {
    at,
    alice: new TestUser(url, 'alice'),
    bob: new TestUser(url, 'bob'),
    async [Symbol.asyncDispose]() {
      await http.close();
      client[Symbol.dispose]();
      await at[Symbol.asyncDispose]();
    },
  };
}

async function refusal(answer: ReturnType<TestUser['call']>): Promise<string> {
  const { status, body } = await answer;
  return `${status} ${status === 200 ? '' : textAt(body, 'errcode')}`.trim();
}

test('sync over HTTP', async () => {
  await using server = await start();
  const { alice, at } = server;
  const roomId = await createPublicRoom(at);
  const first = await alice.ok('GET', '/sync?timeout=0&set_presence=offline');
  assert.ok(valueAt(first, 'rooms', 'join', roomId));
  const since = encodeURIComponent(textAt(first, 'next_batch'));
  const second = await alice.ok('GET', `/sync?since=${since}&full_state=true&use_state_after=true`);
  assert.ok(valueAt(second, 'rooms', 'join', roomId, 'state_after'));
  assert.equal(await refusal(alice.call('GET', '/sync?since=s12_34')), '400 M_INVALID_PARAM');
  assert.equal(await refusal(alice.call('GET', '/sync?timeout=soon')), '400 M_INVALID_PARAM');
  assert.equal(await refusal(alice.call('GET', `/sync?filter=${encodeURIComponent('{"room":[]}')}`)), '400 M_BAD_JSON');
});

test('filters come back as they were, and only to their user', async () => {
  await using server = await start();
  const { alice, bob } = server;
  const filter = { room: { timeline: { limit: 10 } }, unknown: ['field'] };
  const path = `/user/${ALICE}/filter`;
  const id = textAt(await alice.ok('POST', path, filter), 'filter_id');
  assert.equal(textAt(await alice.ok('POST', path, filter), 'filter_id'), id);
  assert.deepEqual(await alice.ok('GET', `${path}/${id}`), filter);
  assert.equal(await refusal(bob.call('GET', `${path}/${id}`)), '403 M_FORBIDDEN');
  assert.equal(await refusal(bob.call('POST', path, filter)), '403 M_FORBIDDEN');
  assert.equal(await refusal(alice.call('GET', `${path}/nothing`)), '404 M_NOT_FOUND');
  for (const bad of [{ room: 1 }, { room: { timeline: { types: 'm.*' } } }, { room: { timeline: { limit: 1.5 } } }]) {
    assert.equal(await refusal(alice.call('POST', path, bad)), '400 M_BAD_JSON');
  }
  await alice.ok('GET', `/sync?filter=${id}`);
});

test('typing and receipts are for members', async () => {
  await using server = await start();
  const { alice, bob, at } = server;
  const roomId = await createPublicRoom(at);
  const [sent] = await at.engine.send({ roomId, decide: () => [message('read me')] });
  assert.ok(sent);
  const room = `/rooms/${encodeURIComponent(roomId)}`;
  const event = encodeURIComponent(sent.eventId);
  await alice.ok('PUT', `${room}/typing/${ALICE}`, { typing: true, timeout: 1e15 });
  await alice.ok('PUT', `${room}/typing/${ALICE}`, { typing: false });
  assert.equal(await refusal(alice.call('PUT', `${room}/typing/${BOB}`, { typing: true })), '403 M_FORBIDDEN');
  assert.equal(await refusal(bob.call('PUT', `${room}/typing/${BOB}`, { typing: true })), '403 M_FORBIDDEN');
  assert.equal(await refusal(alice.call('PUT', `${room}/typing/${ALICE}`, { timeout: 1 })), '400 M_BAD_JSON');
  await alice.ok('POST', `${room}/receipt/m.read/${event}`, {});
  await alice.ok('POST', `${room}/receipt/m.read/${event}`, { thread_id: 'main' });
  await alice.ok('POST', `${room}/read_markers`, { 'm.fully_read': sent.eventId, 'm.read.private': sent.eventId });
  assert.equal(await refusal(bob.call('POST', `${room}/receipt/m.read/${event}`, {})), '403 M_FORBIDDEN');
  for (const [type, body] of [
    ['m.unknown', {}],
    ['m.read', { thread_id: '' }],
    ['m.read', { thread_id: 5 }],
    ['m.read', { thread_id: '$other' }],
    ['m.fully_read', { thread_id: 'main' }],
  ] as const) {
    assert.equal(await refusal(alice.call('POST', `${room}/receipt/${type}/${event}`, body)), '400 M_INVALID_PARAM');
  }
  const marker = await alice.ok('GET', `/user/${ALICE}${room}/account_data/m.fully_read`);
  assert.deepEqual(marker, { event_id: sent.eventId });
});

test('deleted account data is told to every session once, and then it never was', async () => {
  await using server = await start();
  const { alice, bob, at } = server;
  const roomId = await createPublicRoom(at);
  const places = [`/user/${ALICE}/account_data`, `/user/${ALICE}/rooms/${encodeURIComponent(roomId)}/account_data`];
  const sync = async (since?: string) => {
    const synced = await alice.ok('GET', `/sync?timeout=0${since === undefined ? '' : `&since=${since}`}`);
    const room = valueAt(synced, 'rooms', 'join', roomId) ?? {};
    const events = [synced, room].flatMap((part) => {
      const data = valueAt(part, 'account_data', 'events');
      return Array.isArray(data) ? data : [];
    });
    const contents = events
      .filter((event) => valueAt(event, 'type') === 'a.b')
      .map((event) => valueAt(event, 'content'));
    return { next: textAt(synced, 'next_batch'), contents };
  };
  const deletions: readonly ((place: string) => Promise<unknown>)[] = [
    (place) => alice.ok('DELETE', `${place}/a.b`),
    (place) => alice.ok('PUT', `${place}/a.b`, {}),
    (place) => alice.ok('DELETE', `/../unstable/org.matrix.msc3391${place}/a.b`),
  ];
  for (const remove of deletions) {
    for (const place of places) await alice.ok('PUT', `${place}/a.b`, { kept: true });
    const before = await sync();
    assert.deepEqual(before.contents, [{ kept: true }, { kept: true }]);
    for (const place of places) {
      await remove(place);
      assert.equal(await refusal(alice.call('GET', `${place}/a.b`)), '404 M_NOT_FOUND');
    }
    const after = await sync(before.next);
    assert.deepEqual(after.contents, [{}, {}]);
    assert.deepEqual((await sync(after.next)).contents, []);
    assert.deepEqual((await sync()).contents, []);
  }
  const { next } = await sync();
  for (const place of places) {
    assert.equal(await refusal(alice.call('DELETE', `${place}/a.b`)), '200');
    assert.equal(await refusal(alice.call('DELETE', `${place}/m.fully_read`)), '405 M_BAD_JSON');
    assert.equal(await refusal(alice.call('DELETE', `${place}/m.push_rules`)), '405 M_BAD_JSON');
    assert.equal(await refusal(bob.call('DELETE', `${place}/a.b`)), '403 M_FORBIDDEN');
  }
  assert.equal((await sync(next)).next, next, 'what was not there is not deleted');
  assert.equal(await refusal(alice.call('DELETE', `/user/${ALICE}/rooms/none/account_data/a`)), '400 M_INVALID_PARAM');
});

test('notifications are listed page by page, with what was read and what was highlighted', async () => {
  await using server = await start();
  const { alice, bob, at } = server;
  const roomId = await createPublicRoom(at);
  await at.engine.send({ roomId, decide: () => [member(BOB, 'invite', ALICE)] });
  const list = async (query = '') => {
    const answer = await bob.ok('GET', `/notifications${query}`);
    const lines = listAt(answer, 'notifications').map((one) => {
      const event = valueAt(one, 'event');
      const shown = valueAt(event, 'content', 'body') ?? valueAt(event, 'content', 'membership');
      return `${shown} ${valueAt(one, 'read')} ${JSON.stringify(valueAt(one, 'actions'))}`;
    });
    return { lines, next: valueAt(answer, 'next_token') };
  };
  const sound = '{"set_tweak":"sound","value":"default"}';
  assert.deepEqual(await list(), { lines: [`invite false ["notify",${sound}]`], next: undefined });
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join')] });
  const [read] = await at.engine.send({
    roomId,
    decide: () => [message('one'), message('hi bob'), message('my own', BOB)],
  });
  assert.ok(read);
  await bob.ok('POST', `/rooms/${encodeURIComponent(roomId)}/receipt/m.read/${encodeURIComponent(read.eventId)}`, {});
  const mention = `hi bob false ["notify",${sound},{"set_tweak":"highlight"}]`;
  const first = await list('?limit=1');
  assert.deepEqual(first.lines, [mention]);
  assert.deepEqual((await list(`?limit=5&from=${first.next}`)).lines, [`one true ["notify",${sound}]`]);
  assert.deepEqual((await list('?only=highlight')).lines, [mention]);
  assert.deepEqual(listAt(await alice.ok('GET', '/notifications'), 'notifications').length, 1);
  assert.equal(await refusal(bob.call('GET', '/notifications?from=x')), '400 M_INVALID_PARAM');
});

test('pushers are set, listed and deleted by their user', async () => {
  await using server = await start();
  const { alice, bob } = server;
  const pusher = {
    kind: 'http',
    app_id: 'an.app',
    pushkey: 'a key',
    app_display_name: 'App',
    device_display_name: 'Phone',
    profile_tag: 'tag',
    lang: 'en',
    data: { url: 'https://push.example/_matrix/push/v1/notify', format: 'event_id_only' },
  };
  await alice.ok('POST', '/pushers/set', pusher);
  assert.deepEqual(await alice.ok('GET', '/pushers'), { pushers: [pusher] });
  assert.deepEqual(await bob.ok('GET', '/pushers'), { pushers: [] });
  const { lang: _, ...incomplete } = pusher;
  assert.equal(await refusal(alice.call('POST', '/pushers/set', incomplete)), '400 M_MISSING_PARAM');
  assert.equal(
    await refusal(alice.call('POST', '/pushers/set', { ...pusher, data: { url: 'http://a' } })),
    '400 M_INVALID_PARAM',
  );
  assert.equal(await refusal(alice.call('POST', '/pushers/set', { ...pusher, pushkey: 5 })), '400 M_BAD_JSON');
  await alice.ok('POST', '/pushers/set', { kind: null, app_id: 'an.app', pushkey: 'a key' });
  assert.deepEqual(await alice.ok('GET', '/pushers'), { pushers: [] });
});

test('presence is set by oneself and seen by those who share a room', async () => {
  await using server = await start();
  const { alice, bob, at } = server;
  const roomId = await createPublicRoom(at);
  const path = (userId: string) => `/presence/${userId}/status`;
  assert.deepEqual(await alice.ok('GET', path(ALICE)), { presence: 'offline' });
  await alice.ok('PUT', path(ALICE), { presence: 'online', status_msg: 'hello' });
  const { presence, status_msg: message, currently_active: isActive } = Object(await alice.ok('GET', path(ALICE)));
  assert.deepEqual([presence, message, isActive], ['online', 'hello', true]);
  assert.equal(await refusal(bob.call('GET', path(ALICE))), '403 M_FORBIDDEN');
  assert.equal(await refusal(bob.call('PUT', path(ALICE), { presence: 'online' })), '403 M_FORBIDDEN');
  assert.equal(await refusal(alice.call('PUT', path(ALICE), { presence: 'busy' })), '400 M_BAD_JSON');
  assert.equal(
    await refusal(alice.call('PUT', path(ALICE), { presence: 'online', status_msg: 'x'.repeat(2_000) })),
    '400 M_BAD_JSON',
  );
  assert.equal(await refusal(alice.call('GET', '/presence/nobody/status')), '400 M_INVALID_PARAM');
  await at.engine.send({ roomId, decide: () => [member(BOB, 'join')] });
  assert.equal(valueAt(await bob.ok('GET', path(ALICE)), 'presence'), 'online');
  await alice.ok('PUT', path(ALICE), { presence: 'unavailable', status_msg: null });
  assert.equal(valueAt(await bob.ok('GET', path(ALICE)), 'status_msg'), undefined);
  const synced = await bob.ok('GET', '/sync?set_presence=offline');
  assert.equal(textAt(listAt(synced, 'presence', 'events')[0], 'content', 'presence'), 'unavailable');
});

test('account data and tags come back, but not to others', async () => {
  await using server = await start();
  const { alice, bob, at } = server;
  const roomId = encodeURIComponent(await createPublicRoom(at));
  const global = `/user/${ALICE}/account_data`;
  const content = { a: { __proto__: 1, text: 'a\u0000b' } };
  await alice.ok('PUT', `${global}/my.type`, content);
  assert.deepEqual(await alice.ok('GET', `${global}/my.type`), content);
  assert.equal(await refusal(bob.call('GET', `${global}/my.type`)), '403 M_FORBIDDEN');
  assert.equal(await refusal(bob.call('PUT', `${global}/my.type`, {})), '403 M_FORBIDDEN');
  assert.equal(await refusal(alice.call('GET', `${global}/other`)), '404 M_NOT_FOUND');
  for (const place of [global, `/user/${ALICE}/rooms/${roomId}/account_data`]) {
    for (const type of ['m.fully_read', 'm.push_rules']) {
      assert.equal(await refusal(alice.call('PUT', `${place}/${type}`, {})), '405 M_BAD_JSON');
    }
    assert.equal(await refusal(alice.call('PUT', `${place}/my.type`, [])), '400 M_BAD_JSON');
    assert.equal(await refusal(alice.call('PUT', `${place}/my.type`, { a: 'x'.repeat(70_000) })), '413 M_TOO_LARGE');
  }
  assert.equal(await refusal(alice.call('PUT', `/user/${ALICE}/rooms/none/account_data/a`, {})), '400 M_INVALID_PARAM');
  const tags = `/user/${ALICE}/rooms/${roomId}/tags`;
  await Promise.all(['u.a', 'u.b', '__proto__'].map((tag) => alice.ok('PUT', `${tags}/${tag}`, { order: 0.5 })));
  assert.deepEqual(Object.keys(Object(valueAt(await alice.ok('GET', tags), 'tags'))).sort(), [
    '__proto__',
    'u.a',
    'u.b',
  ]);
  await alice.ok('DELETE', `${tags}/u.a`);
  assert.deepEqual(Object.keys(Object(valueAt(await alice.ok('GET', tags), 'tags'))).sort(), ['__proto__', 'u.b']);
  assert.equal(await refusal(alice.call('PUT', `${tags}/u.c`, { order: 2 })), '400 M_BAD_JSON');
  assert.equal(await refusal(alice.call('PUT', `${tags}/${'x'.repeat(300)}`, {})), '400 M_INVALID_PARAM');
});

test('push rules are added, placed, changed and removed', async () => {
  await using server = await start();
  const { alice } = server;
  const rules = '/pushrules/global';
  const body = { pattern: 'cake', actions: ['notify'] };
  await alice.ok('PUT', `${rules}/content/one`, body);
  await alice.ok('PUT', `${rules}/content/two`, body);
  await alice.ok('PUT', `${rules}/content/three?after=two`, body);
  const all = await alice.ok('GET', '/pushrules/');
  assert.deepEqual(
    listAt(all, 'global', 'content').map((rule) => textAt(rule, 'rule_id')),
    ['two', 'three', 'one', '.m.rule.contains_user_name'],
  );
  await alice.ok('PUT', `${rules}/override/.m.rule.master/enabled`, { enabled: true });
  assert.deepEqual(await alice.ok('GET', `${rules}/override/.m.rule.master/enabled`), { enabled: true });
  await alice.ok('PUT', `${rules}/content/one/actions`, { actions: [] });
  assert.deepEqual(await alice.ok('GET', `${rules}/content/one/actions`), { actions: [] });
  await alice.ok('DELETE', `${rules}/content/one`);
  assert.equal(await refusal(alice.call('GET', `${rules}/content/one`)), '404 M_NOT_FOUND');
  assert.equal(await refusal(alice.call('DELETE', `${rules}/override/.m.rule.master`)), '404 M_NOT_FOUND');
  assert.equal(await refusal(alice.call('PUT', `${rules}/content/x?after=nothing`, body)), '400 M_UNKNOWN');
  assert.equal(await refusal(alice.call('PUT', `${rules}/content/.x`, body)), '400 M_INVALID_PARAM');
  assert.equal(await refusal(alice.call('PUT', `${rules}/strange/x`, body)), '400 M_INVALID_PARAM');
  assert.equal(await refusal(alice.call('GET', `${rules}/strange/x`)), '404 M_NOT_FOUND');
  const synced = await alice.ok('GET', '/sync');
  assert.ok(JSON.stringify(synced).includes('"rule_id":"three"'));
  assert.deepEqual(await alice.ok('GET', '/voip/turnServer'), {});
});
