import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkPowerLevels } from './check-power-levels.ts';

const nobody = (): boolean => false;

test('item 23: takes integers and user ids', () => {
  const content = {
    ban: 50,
    users_default: -1,
    users: { '@Alice:x': 2 ** 53 - 1 },
    events: { a: 0 },
    notifications: { room: 1 },
  };
  assert.doesNotThrow(() => checkPowerLevels({ ...content, unknown: 'kept' }, nobody));
  assert.doesNotThrow(() => checkPowerLevels({}, nobody));
});

for (const content of [
  { kick: '50' },
  { kick: null },
  { invite: 1.5 },
  { users: { '@a:x': 2 ** 53 } },
  { users: null },
  { events: [1] },
  { notifications: { room: '50' } },
]) {
  test(`item 23: refuses ${JSON.stringify(content)}`, () => {
    assert.throws(() => checkPowerLevels(content, nobody), { errcode: 'M_BAD_JSON' });
  });
}

test('item 23: refuses users who are none, and creators where they stand above levels', () => {
  assert.throws(() => checkPowerLevels({ users: { 'a:x': 1 } }, nobody), { errcode: 'M_INVALID_PARAM' });
  assert.throws(() => checkPowerLevels({ users: { '@a:x': 1 } }, (id) => id === '@a:x'), {
    errcode: 'M_INVALID_PARAM',
  });
});
