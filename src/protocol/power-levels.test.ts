import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeState } from '../../test/support/auth-vectors.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import {
  canBan,
  canInvite,
  canKick,
  canRedact,
  canSend,
  getUserLevel,
  levelOf,
  notificationLevel,
  parseLevel,
  readPowerLevels,
  requiredLevelFor,
} from './power-levels.ts';
import { getRoomVersion, ROOM_VERSIONS, type RoomVersion } from './room-version.ts';

const ALICE = '@alice:a.test';
const MOD = '@mod:a.test';
const BOB = '@bob:b.test';
const MAX = Number.MAX_SAFE_INTEGER;

function room(content: JsonObject | undefined, version: RoomVersion, create: JsonObject = { creator: ALICE }) {
  return makeState(
    [
      ['m.room.create', '', ALICE, create],
      ...(content === undefined ? [] : [['m.room.power_levels', '', ALICE, content] as const]),
    ],
    version,
  );
}

function versionsWhere(predicate: (version: RoomVersion) => boolean): readonly RoomVersion[] {
  return [...ROOM_VERSIONS.values()].filter(predicate);
}

function version(id: string): RoomVersion {
  const found = getRoomVersion(id);
  assert.ok(found);
  return found;
}

describe('the level that an event type requires (A8)', () => {
  const rows: readonly [
    name: string,
    content: JsonObject | undefined,
    type: string,
    isState: boolean,
    level: number,
  ][] = [
    ['no power levels, message', undefined, 'm.room.message', false, 0],
    ['no power levels, state', undefined, 'm.room.name', true, 50],
    ['empty power levels, message', {}, 'm.room.message', false, 0],
    ['empty power levels, state', {}, 'm.room.name', true, 50],
    ['events_default', { events_default: 7 }, 'm.room.message', false, 7],
    ['events_default says nothing of state', { events_default: 7 }, 'm.room.name', true, 50],
    ['state_default', { state_default: 7 }, 'm.room.name', true, 7],
    ['state_default says nothing of messages', { state_default: 7 }, 'm.room.message', false, 0],
    ['a listed type', { events: { 'm.room.name': 3 }, state_default: 7 }, 'm.room.name', true, 3],
    ['a listed type at 0', { events: { 'm.room.name': 0 }, state_default: 7 }, 'm.room.name', true, 0],
    ['a listed type below 0', { events: { m: -3 }, events_default: 7 }, 'm', false, -3],
    ['another type listed', { events: { 'm.room.name': 3 } }, 'm.room.topic', true, 50],
    ['a type named like a property of every object', { events: {} }, 'toString', false, 0],
    ['events that are no object', { events: 5, events_default: 2 }, 'm', false, 2],
    ['a listed value that is no level', { events: { m: null }, events_default: 2 }, 'm', false, 2],
    ['a default that is no level', { state_default: 'x' }, 'm', true, 50],
  ];
  for (const [name, content, type, isState, level] of rows) {
    it(name, () => {
      for (const each of ROOM_VERSIONS.values()) {
        assert.equal(requiredLevelFor(room(content, each), { type, isState }, each), level, `v${each.id}`);
      }
    });
  }
});

describe("a user's level (A8)", () => {
  const all = (): boolean => true;
  const rows: readonly [
    name: string,
    content: JsonObject | undefined,
    userId: string,
    level: number,
    versions?: (version: RoomVersion) => boolean,
  ][] = [
    ['listed', { users: { [MOD]: 50 } }, MOD, 50],
    ['not listed', { users: { [MOD]: 50 } }, BOB, 0],
    ['users_default', { users: { [MOD]: 50 }, users_default: 20 }, BOB, 20],
    ['listed below users_default', { users: { [MOD]: 10 }, users_default: 20 }, MOD, 10],
    ['users_default below 0', { users_default: -10 }, BOB, -10],
    ['users that are no object', { users: [50], users_default: 3 }, BOB, 3],
    ['no power levels', undefined, BOB, 0],
    ['the creator without power levels', undefined, ALICE, 100, (each) => !each.creatorsPrivileged],
    ['the creator not listed', {}, ALICE, 0, (each) => !each.creatorsPrivileged],
    ['the creator listed', { users: { [ALICE]: 40 } }, ALICE, 40, (each) => !each.creatorsPrivileged],
    ['the creator in v12 without power levels', undefined, ALICE, Infinity, (each) => each.creatorsPrivileged],
    ['the creator in v12 listed', { users: { [ALICE]: 40 } }, ALICE, Infinity, (each) => each.creatorsPrivileged],
    ['the highest level', { users: { [BOB]: MAX } }, BOB, MAX],
    ['a string', { users: { [BOB]: ' -0012 ' } }, BOB, -12, (each) => !each.integerPowerLevels],
    ['a string from v10 on', { users: { [BOB]: '12' } }, BOB, 0, (each) => each.integerPowerLevels],
  ];
  for (const [name, content, userId, level, versions = all] of rows) {
    it(name, () => {
      for (const each of versionsWhere(versions)) {
        assert.equal(getUserLevel(room(content, each), userId, each), level, `v${each.id}`);
      }
    });
  }

  it('is infinite for additional creators in v12 and for nobody else', () => {
    const create = { creator: ALICE, additional_creators: [BOB, 5] };
    const v12 = version('12');
    assert.equal(getUserLevel(room({}, v12, create), BOB, v12), Number.POSITIVE_INFINITY);
    assert.equal(getUserLevel(room({}, v12, create), MOD, v12), 0);
    const v11 = version('11');
    assert.equal(getUserLevel(room(undefined, v11, create), BOB, v11), 0);
  });

  it('is 100 for the creator that the version means', () => {
    const create = { creator: BOB };
    const [v10, v11] = [version('10'), version('11')];
    assert.equal(getUserLevel(room(undefined, v10, create), BOB, v10), 100);
    assert.equal(getUserLevel(room(undefined, v10, create), ALICE, v10), 0);
    assert.equal(getUserLevel(room(undefined, v11, create), BOB, v11), 0);
    assert.equal(getUserLevel(room(undefined, v11, create), ALICE, v11), 100);
  });
});

describe('reading a level', () => {
  const tolerant: readonly [JsonValue | undefined, number | undefined][] = [
    ['100', 100],
    ['000100', 100],
    ['+100', 100],
    ['-100', -100],
    [' \t+7\n', 7],
    ['', undefined],
    [' ', undefined],
    ['+', undefined],
    ['1.0', undefined],
    ['1e2', undefined],
    ['0x10', undefined],
    ['+ 1', undefined],
    ['1_000', undefined],
    ['--1', undefined],
    ['9'.repeat(400), undefined],
  ];
  it('takes strings of one integer before v10', () => {
    for (const each of versionsWhere(({ integerPowerLevels }) => !integerPowerLevels)) {
      for (const [value, level] of tolerant) assert.equal(parseLevel(value, each), level, `v${each.id} ${value}`);
    }
  });

  it('takes no strings from v10 on', () => {
    for (const each of versionsWhere(({ integerPowerLevels }) => integerPowerLevels)) {
      for (const [value] of tolerant) assert.equal(parseLevel(value, each), undefined);
    }
  });

  it('cuts floats before v6 and takes none later', () => {
    const floats: readonly [number, number][] = [
      [50.57, 50],
      [-50.57, -50],
      [0.5, 0],
      [-0.5, 0],
      [2 ** 60, 2 ** 60],
    ];
    for (const each of ROOM_VERSIONS.values()) {
      for (const [value, level] of floats) {
        assert.equal(parseLevel(value, each), each.strictCanonicalJson ? undefined : level);
      }
      assert.equal(parseLevel(Number.POSITIVE_INFINITY, each), undefined);
      assert.equal(parseLevel(Number.NaN, each), undefined);
    }
  });

  it('takes nothing else', () => {
    for (const each of ROOM_VERSIONS.values()) {
      for (const value of [undefined, null, true, [], [1], {}]) assert.equal(parseLevel(value, each), undefined);
      assert.equal(parseLevel(MAX, each), MAX);
    }
  });
});

describe('what a level permits', () => {
  const v11 = version('11');
  const content = { users: { [ALICE]: 100, [MOD]: 50, [BOB]: 10 }, events: { 'm.room.topic': 10 } };
  const state = room(content, v11);

  it('has the defaults of the specification', () => {
    const levels = readPowerLevels(room({}, v11), v11);
    const read = (['ban', 'kick', 'redact', 'invite', 'users_default', 'events_default', 'state_default'] as const).map(
      (name) => levelOf(levels, name),
    );
    assert.deepEqual(read, [50, 50, 50, 0, 0, 0, 50]);
  });

  it('sends', () => {
    assert.equal(canSend(state, { userId: BOB, type: 'm.room.topic', isState: true }, v11), true);
    assert.equal(canSend(state, { userId: BOB, type: 'm.room.name', isState: true }, v11), false);
    assert.equal(canSend(state, { userId: BOB, type: 'm.room.message', isState: false }, v11), true);
  });

  it('redacts and invites', () => {
    assert.equal(canRedact(state, MOD, v11), true);
    assert.equal(canRedact(state, BOB, v11), false);
    assert.equal(canInvite(state, BOB, v11), true);
    assert.equal(canInvite(room({ ...content, invite: 11 }, v11), BOB, v11), false);
  });

  it('kicks and bans those below', () => {
    for (const can of [canKick, canBan]) {
      assert.equal(can(state, { userId: MOD, target: BOB }, v11), true);
      assert.equal(can(state, { userId: MOD, target: ALICE }, v11), false);
      assert.equal(can(state, { userId: MOD, target: MOD }, v11), false);
      assert.equal(can(state, { userId: BOB, target: '@x:b.test' }, v11), false);
    }
    const split = room({ ...content, kick: 10, ban: 60 }, v11);
    assert.equal(canKick(split, { userId: BOB, target: '@x:b.test' }, v11), true);
    assert.equal(canBan(split, { userId: MOD, target: BOB }, v11), false);
  });

  it('notifies', () => {
    assert.equal(notificationLevel(state, 'room', v11), 50);
    assert.equal(notificationLevel(room({ notifications: { room: 5 } }, v11), 'room', v11), 5);
    assert.equal(notificationLevel(room({ notifications: { room: 5 } }, v11), 'toString', v11), 50);
    assert.equal(notificationLevel(room(undefined, v11), 'room', v11), 50);
  });
});
