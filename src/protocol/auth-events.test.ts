import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makeState } from '../../test/support/auth-vectors.ts';
import { type AuthEventsInput, listAuthTypes, selectAuthEvents } from './auth-events.ts';
import type { JsonObject } from './pdu.ts';
import { ROOM_VERSIONS, type RoomVersion } from './room-version.ts';

const BOB = '@bob:b.test';
const CAROL = '@carol:b.test';
const MOD = '@mod:a.test';

function stateOf(version: RoomVersion) {
  return makeState(
    [
      ['m.room.create', '', MOD, {}],
      ['m.room.power_levels', '', MOD, {}],
      ['m.room.join_rules', '', MOD, { join_rule: 'restricted' }],
      ['m.room.third_party_invite', 'tok', BOB, {}],
      ['m.room.member', BOB, BOB, { membership: 'join' }],
      ['m.room.member', CAROL, CAROL, { membership: 'join' }],
      ['m.room.member', MOD, MOD, { membership: 'join' }],
      ['m.room.name', '', MOD, {}],
    ],
    version,
  );
}

function input(type: string, stateKey: string | undefined, content: JsonObject = {}): AuthEventsInput {
  return { type, stateKey, sender: BOB, content };
}

function member(stateKey: string, membership: string, more: JsonObject = {}): AuthEventsInput {
  return input('m.room.member', stateKey, { membership, ...more });
}

const signed = (token: string) => ({ third_party_invite: { signed: { token } } });
const via = (userId: string) => ({ join_authorised_via_users_server: userId });

/** What is selected beside the create event, the power levels and the sender's membership. */
const rows: readonly [string, AuthEventsInput, readonly string[], ((version: RoomVersion) => boolean)?][] = [
  ['a message', input('m.room.message', undefined), []],
  ['state', input('m.room.name', ''), []],
  ['a third-party invite', input('m.room.third_party_invite', 'tok'), []],
  ['a join', member(BOB, 'join'), ['m.room.join_rules|']],
  ['a knock', member(BOB, 'knock'), ['m.room.join_rules|']],
  ['a leave', member(BOB, 'leave'), []],
  ['a kick', member(CAROL, 'leave'), [`m.room.member|${CAROL}`]],
  ['a ban', member(CAROL, 'ban'), [`m.room.member|${CAROL}`]],
  ['an invite', member(CAROL, 'invite'), [`m.room.member|${CAROL}`, 'm.room.join_rules|']],
  [
    'an invite by third-party identifier',
    member(CAROL, 'invite', signed('tok')),
    [`m.room.member|${CAROL}`, 'm.room.join_rules|', 'm.room.third_party_invite|tok'],
  ],
  [
    'an invite by an unknown token',
    member(CAROL, 'invite', signed('x')),
    [`m.room.member|${CAROL}`, 'm.room.join_rules|'],
  ],
  ['a join that is no invite by third-party identifier', member(BOB, 'join', signed('tok')), ['m.room.join_rules|']],
  [
    'an authorized join',
    member(BOB, 'join', via(MOD)),
    ['m.room.join_rules|', `m.room.member|${MOD}`],
    ({ restricted }) => restricted,
  ],
  ['before v8 none', member(BOB, 'join', via(MOD)), ['m.room.join_rules|'], ({ restricted }) => !restricted],
  ['a join authorized by the user itself', member(BOB, 'join', via(BOB)), ['m.room.join_rules|']],
  [
    'a join authorized by what is no user id',
    input('m.room.member', BOB, { membership: 'join', join_authorised_via_users_server: 5 }),
    ['m.room.join_rules|'],
  ],
  ['a leave that names an authorizing user', member(BOB, 'leave', via(MOD)), []],
  ['a membership that is no string', input('m.room.member', BOB, { membership: 5 }), []],
];

describe('the auth events selection', () => {
  for (const [name, event, more, where = () => true] of rows) {
    it(`selects for ${name}`, () => {
      for (const version of [...ROOM_VERSIONS.values()].filter(where)) {
        const selected = selectAuthEvents(event, stateOf(version), version);
        const names = selected.map(({ type, stateKey }) => `${type}|${stateKey}`);
        const create = version.roomIdFromCreate ? [] : ['m.room.create|'];
        assert.deepEqual(names, [...create, 'm.room.power_levels|', `m.room.member|${BOB}`, ...more], version.id);
      }
    });
  }

  it('selects nothing for a create event', () => {
    for (const version of ROOM_VERSIONS.values()) {
      assert.deepEqual(selectAuthEvents(input('m.room.create', ''), stateOf(version), version), []);
    }
  });

  it('takes no more than the state has', () => {
    for (const version of ROOM_VERSIONS.values()) {
      assert.deepEqual(selectAuthEvents(member(BOB, 'join'), { get: () => undefined }, version), []);
    }
  });

  it('lists no type and state key twice', () => {
    for (const version of ROOM_VERSIONS.values()) {
      for (const [, event] of rows) {
        const names = listAuthTypes(event, version).map(({ type, stateKey }) => `${type}|${stateKey}`);
        assert.equal(new Set(names).size, names.length);
      }
    }
  });
});
