import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomAlias, UserId } from '../protocol/ids.ts';
import { DEFAULT_ROOM_VERSION, getRoomVersion } from '../protocol/room-version.ts';
import { createRoomCreation, type Preset, type RoomCreation, type RoomCreationRequest } from './room-creation.ts';

const ALICE = '@alice:test.example' as UserId;
const BOB = '@bob:test.example' as UserId;
const V11 = getRoomVersion('11') ?? DEFAULT_ROOM_VERSION;

function plan(request: Partial<RoomCreationRequest> = {}): RoomCreation {
  const defaults: RoomCreationRequest = {
    version: DEFAULT_ROOM_VERSION,
    preset: 'private_chat',
    creationContent: {},
    initialState: [],
    invites: [],
    isDirect: false,
  };
  const profiles = new Map([[ALICE, { displayname: 'Alice' }]]);
  return createRoomCreation({ ...defaults, ...request }, { creator: ALICE, profiles });
}

const contentOf = ({ events }: RoomCreation, type: string) => events.findLast((event) => event.type === type)?.content;
const typesOf = ({ events }: RoomCreation) => events.map(({ type }) => type);

describe('createRoomCreation', () => {
  const presets: readonly (readonly [Preset, string, object | undefined])[] = [
    ['private_chat', 'invite', { guest_access: 'can_join' }],
    ['trusted_private_chat', 'invite', { guest_access: 'can_join' }],
    ['public_chat', 'public', undefined],
  ];
  for (const [preset, joinRule, guestAccess] of presets) {
    test(`${preset} sets its state`, () => {
      const planned = plan({ preset });
      assert.deepEqual(contentOf(planned, 'm.room.join_rules'), { join_rule: joinRule });
      assert.deepEqual(contentOf(planned, 'm.room.history_visibility'), { history_visibility: 'shared' });
      assert.deepEqual(contentOf(planned, 'm.room.guest_access'), guestAccess);
    });
  }

  test('orders the events as the spec says', () => {
    const alias = '#a:test.example' as RoomAlias;
    const initialState = [{ type: 'a.b', stateKey: 'k', content: {} }];
    assert.deepEqual(typesOf(plan({ alias, initialState, name: 'n', topic: 't', invites: [BOB] })), [
      'm.room.member',
      'm.room.power_levels',
      'm.room.canonical_alias',
      'm.room.join_rules',
      'm.room.history_visibility',
      'm.room.guest_access',
      'a.b',
      'm.room.name',
      'm.room.topic',
      'm.room.member',
    ]);
  });

  test('initial state takes the place of the preset, name and topic that of initial state', () => {
    const state = (type: string, content: Readonly<Record<string, string>>, stateKey = '') => ({
      type,
      stateKey,
      content,
    });
    const initialState = [
      state('m.room.join_rules', { join_rule: 'knock' }),
      state('m.room.guest_access', { guest_access: 'other key' }, 'x'),
      state('m.room.name', { name: 'initial' }),
      state('m.room.topic', { topic: 'initial' }),
    ];
    const planned = plan({ initialState, name: 'Name' });
    assert.equal(typesOf(planned).filter((type) => type === 'm.room.join_rules').length, 1);
    assert.equal(typesOf(planned).filter((type) => type === 'm.room.guest_access').length, 2);
    assert.equal(typesOf(planned).filter((type) => type === 'm.room.name').length, 1);
    assert.deepEqual(contentOf(planned, 'm.room.name'), { name: 'Name' });
    assert.deepEqual(contentOf(planned, 'm.room.topic'), { topic: 'initial' });
  });

  test('invites each user once, and never the creator', () => {
    const planned = plan({ invites: [BOB, ALICE, BOB], isDirect: true });
    const invited = planned.events.filter(({ content }) => content['membership'] === 'invite');
    assert.deepEqual(invited, [
      { type: 'm.room.member', sender: ALICE, stateKey: BOB, content: { membership: 'invite', is_direct: true } },
    ]);
  });

  test('creators are named by level before version 12, and in the create event from then on', () => {
    const trusted = { preset: 'trusted_private_chat', invites: [BOB] } as const;
    assert.deepEqual(contentOf(plan({ ...trusted, version: V11 }), 'm.room.power_levels')?.['users'], {
      [ALICE]: 100,
      [BOB]: 100,
    });
    assert.deepEqual(plan({ ...trusted, version: V11 }).creationContent, {});
    assert.deepEqual(contentOf(plan(trusted), 'm.room.power_levels')?.['users'], {});
    assert.deepEqual(plan(trusted).creationContent, { additional_creators: [BOB] });
    assert.deepEqual(plan({ invites: [BOB] }).creationContent, {});
  });

  test('levels are overridden one by one', () => {
    const content = contentOf(plan({ powerLevelOverride: { users: { [BOB]: 100 }, ban: 75 } }), 'm.room.power_levels');
    assert.deepEqual([content?.['users'], content?.['ban'], content?.['kick']], [{ [BOB]: 100 }, 75, 50]);
    assert.throws(() => plan({ powerLevelOverride: { users: { [ALICE]: 100 } } }), MatrixError);
    assert.doesNotThrow(() => plan({ version: V11, powerLevelOverride: { users: { [ALICE]: 100 } } }));
  });

  test('is bounded', () => {
    const invites = Array.from({ length: 501 }, (_, index) => `@u${index}:test.example` as UserId);
    assert.throws(() => plan({ invites }), MatrixError);
  });
});
