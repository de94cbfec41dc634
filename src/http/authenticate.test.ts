import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import { Authenticator, type Sighting, type TokenRecord } from './authenticate.ts';

const USER = { auth: 'user', guests: false, allowLocked: false } as const;

function setUp(record: Partial<TokenRecord> = {}) {
  const time = { now: 1_000_000, monotonic: 0 };
  const clock: Clock = {
    now: () => time.now,
    monotonic: () => time.monotonic,
    after: () => ({ [Symbol.dispose]: () => undefined }),
  };
  const state: { record: TokenRecord | undefined; loads: number } = {
    record: {
      userId: '@a:b' as UserId,
      deviceId: 'D',
      accountId: 1,
      isGuest: false,
      isSuspended: false,
      isAdmin: false,
      isLocked: false,
      expiresAt: undefined,
      revokedOthers: false,
      ...record,
    },
    loads: 0,
  };
  const sightings: Sighting[] = [];
  const authenticator = new Authenticator({
    clock,
    loadToken(token) {
      state.loads += 1;
      return Promise.resolve(token.startsWith('good') ? state.record : undefined);
    },
    onSeen: (sighting) => sightings.push(sighting),
  });
  const client = { ip: '192.0.2.1', userAgent: 'test' };
  const ask = async (
    authorization: string | undefined,
    demands: Parameters<Authenticator['authenticate']>[1] = USER,
  ) => {
    try {
      return await authenticator.authenticate({ authorization, queryToken: undefined, client }, demands);
    } catch (error) {
      assert.ok(error instanceof MatrixError);
      return error.errcode;
    }
  };
  return { authenticator, ask, state, time, sightings };
}

describe('authenticate', () => {
  test('loads a token once, and again after a minute', async () => {
    const { ask, state, time } = setUp();
    for (let count = 0; count < 3; count++)
      assert.equal(Reflect.get(Object(await ask('Bearer good')), 'deviceId'), 'D');
    assert.equal(state.loads, 1);
    time.monotonic += 60_000;
    await ask('Bearer good');
    assert.equal(state.loads, 2);
  });

  test('unknown, missing and empty tokens', async () => {
    const { ask } = setUp();
    assert.equal(await ask('Bearer bad'), 'M_UNKNOWN_TOKEN');
    assert.equal(await ask(`Bearer ${'x'.repeat(2000)}`), 'M_UNKNOWN_TOKEN');
    for (const header of [undefined, '', 'Bearer', 'Bearer ', 'Basic good']) {
      assert.equal(await ask(header), 'M_MISSING_TOKEN', String(header));
    }
    assert.notEqual(typeof (await ask('bearer good')), 'string');
    assert.equal(await ask(undefined, { ...USER, auth: 'optional' }), undefined);
    assert.equal(await ask('Bearer bad', { ...USER, auth: 'optional' }), 'M_UNKNOWN_TOKEN');
  });

  test('a forgotten token is asked for again', async () => {
    const { ask, state, authenticator } = setUp();
    await ask('Bearer good');
    state.record = undefined;
    authenticator.forget(1, new Set(['other']));
    authenticator.forget(2);
    assert.notEqual(typeof (await ask('Bearer good')), 'string');
    authenticator.forget(1, new Set(['D']));
    assert.equal(await ask('Bearer good'), 'M_UNKNOWN_TOKEN');
  });

  test('an answer from before a token was forgotten is not kept', async () => {
    const { ask, state, authenticator } = setUp();
    const asking = ask('Bearer good');
    authenticator.forget(1);
    await asking;
    state.record = undefined;
    assert.equal(await ask('Bearer good'), 'M_UNKNOWN_TOKEN');
  });

  test('admin endpoints always ask the database', async () => {
    const { ask, state } = setUp({ isAdmin: true });
    const admin = { ...USER, auth: 'admin' } as const;
    assert.notEqual(typeof (await ask('Bearer good', admin)), 'string');
    if (state.record !== undefined) state.record = { ...state.record, isAdmin: false };
    assert.equal(await ask('Bearer good', admin), 'M_FORBIDDEN');
  });

  test('flags of the account and of the token', async () => {
    assert.equal(await setUp({ isLocked: true }).ask('Bearer good'), 'M_USER_LOCKED');
    assert.notEqual(
      typeof (await setUp({ isLocked: true }).ask('Bearer good', { ...USER, allowLocked: true })),
      'string',
    );
    assert.equal(await setUp({ isGuest: true }).ask('Bearer good'), 'M_GUEST_ACCESS_FORBIDDEN');
    assert.notEqual(typeof (await setUp({ isGuest: true }).ask('Bearer good', { ...USER, guests: true })), 'string');
    const expiring = setUp({ expiresAt: 1_000_500 });
    assert.notEqual(typeof (await expiring.ask('Bearer good')), 'string');
    expiring.time.now += 500;
    assert.equal(await expiring.ask('Bearer good'), 'M_UNKNOWN_TOKEN');
  });

  test('a device is seen at most once a minute', async () => {
    const { ask, sightings, time } = setUp();
    await ask('Bearer good');
    await ask('Bearer good');
    assert.deepEqual(sightings, [{ accountId: 1, deviceId: 'D', ip: '192.0.2.1', userAgent: 'test' }]);
    time.monotonic += 60_000;
    await ask('Bearer good');
    assert.equal(sightings.length, 2);
  });

  test('the first use of a refreshed token drops the device’s other tokens', async () => {
    const { ask, state } = setUp();
    await ask('Bearer good-old');
    if (state.record !== undefined) state.record = { ...state.record, revokedOthers: true };
    await ask('Bearer good-new');
    state.record = undefined;
    assert.equal(await ask('Bearer good-old'), 'M_UNKNOWN_TOKEN');
  });
});
