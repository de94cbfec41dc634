import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { renderSecurityTable } from '../../tools/security-table.ts';

test('docs/security.md names the tests that there are', () => {
  const page = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8');
  assert.equal(page, renderSecurityTable(), 'run `node tools/security-table.ts`');
});
