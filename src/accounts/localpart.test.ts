import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLocalUserId, readLoginName, readNewLocalpart } from './localpart.ts';

test('only user ids of this server have a local part here', () => {
  const cases: readonly [string, string | undefined][] = [
    ['@a:hs1', 'a'],
    ['@a:hs1:8448', undefined],
    ['@a:b:hs1', undefined],
    ['@a:HS1', undefined],
    ['@:hs1', undefined],
    ['a:hs1', undefined],
    ['@a', undefined],
    ['', undefined],
  ];
  for (const [userId, localpart] of cases) assert.equal(parseLocalUserId(userId, 'hs1'), localpart, userId);
});

test('a log-in name is a user id or a localpart', () => {
  assert.equal(readLoginName('a', 'hs1'), 'a');
  assert.equal(readLoginName('@a:hs1', 'hs1'), 'a');
  assert.equal(readLoginName('@a:elsewhere', 'hs1'), undefined);
});

test('new localparts keep to the strict grammar', () => {
  assert.equal(readNewLocalpart('User-1._=/+', 'hs1'), 'user-1._=/+');
  assert.equal(readNewLocalpart('x'.repeat(250), 'hs1').length, 250);
  for (const name of ['', '_x', 'a b', 'a\0', 'ü', '\u212a', '@a', 'a:b', 'x'.repeat(251)]) {
    assert.throws(() => readNewLocalpart(name, 'hs1'), { errcode: 'M_INVALID_USERNAME' }, name);
  }
});
