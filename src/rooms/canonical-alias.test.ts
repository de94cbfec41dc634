import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addedAliases, listedAliases, withoutAlias } from './canonical-alias.ts';

test('lists what is an alias, whatever else is there', () => {
  assert.deepEqual(listedAliases({ alias: '#a:x', alt_aliases: ['#b:x', 7, null] }), ['#a:x', '#b:x']);
  assert.deepEqual(listedAliases({ alias: null, alt_aliases: 'x' }), []);
  assert.deepEqual(listedAliases({ alias: '' }), []);
});

test('only added aliases are looked at', () => {
  const current = { alias: '%old and invalid', alt_aliases: ['#b:x'] };
  assert.deepEqual(addedAliases({ alias: '%old and invalid', alt_aliases: ['#b:x', '#c:x', '#c:x'] }, current), [
    '#c:x',
  ]);
  assert.throws(() => addedAliases({ alias: '%new' }, current), { errcode: 'M_INVALID_PARAM' });
  assert.throws(() => addedAliases({ alias: 7 }, undefined), { errcode: 'M_INVALID_PARAM' });
  assert.throws(() => addedAliases({ alt_aliases: [7] }, undefined), { errcode: 'M_INVALID_PARAM' });
});

test('removes an alias from both places', () => {
  const content = { alias: '#a:x', alt_aliases: ['#a:x', '#b:x'], other: 1 };
  assert.deepEqual(withoutAlias(content, '#a:x'), { alt_aliases: ['#b:x'], other: 1 });
  assert.deepEqual(withoutAlias(content, '#b:x'), { alias: '#a:x', alt_aliases: ['#a:x'], other: 1 });
  assert.deepEqual(withoutAlias({ alias: '#a:x' }, '#a:x'), {});
  assert.equal(withoutAlias(content, '#c:x'), undefined);
});
