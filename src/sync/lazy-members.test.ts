import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '../protocol/ids.ts';
import { createLazyMembers } from './lazy-members.ts';

const room = '!room' as RoomId;
const device = { userId: '@a:test', deviceId: 'D' };

test('what an answer carried counts once the client comes back with its token', () => {
  const members = createLazyMembers();
  const first = members.open(device, undefined);
  first.add(room, '@b:test', '$1');
  assert.equal(first.has(room, '@b:test', '$1'), true);
  first.close('t1');
  assert.equal(members.open(device, 't0').has(room, '@b:test', '$1'), false);
  assert.equal(members.open(device, 't1').has(room, '@b:test', '$1'), true);
  assert.equal(members.open(device, 't1').has(room, '@b:test', '$2'), false);
  assert.equal(members.open({ ...device, deviceId: 'E' }, 't1').has(room, '@b:test', '$1'), false);
});

test('a first sync starts from nothing', () => {
  const members = createLazyMembers();
  const first = members.open(device, undefined);
  first.add(room, '@b:test', '$1');
  first.close('t1');
  members.open(device, 't1').close('t2');
  assert.equal(members.open(device, 't2').has(room, '@b:test', '$1'), true);
  assert.equal(members.open(device, undefined).has(room, '@b:test', '$1'), false);
});

test('memory is bounded', () => {
  const members = createLazyMembers(10);
  for (let index = 0; index < 20; index++) {
    const session = members.open({ ...device, deviceId: `${index}` }, undefined);
    session.add(room, '@b:test', '$1');
    session.close('t');
  }
  assert.equal(members.open({ ...device, deviceId: '0' }, 't').has(room, '@b:test', '$1'), false);
  assert.equal(members.open({ ...device, deviceId: '19' }, 't').has(room, '@b:test', '$1'), true);
});
