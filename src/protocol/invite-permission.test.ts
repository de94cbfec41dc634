import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UserId } from './ids.ts';
import { compileInvitePermission } from './invite-permission.ts';
import type { JsonObject } from './pdu.ts';

const ALICE = '@alice:a.example' as UserId;

const CASES: readonly (readonly [JsonObject | undefined, JsonObject | undefined, string])[] = [
  [undefined, undefined, 'allow'],
  [{}, {}, 'allow'],
  [{ default_action: 'block' }, undefined, 'block'],
  [{ default_action: 'block' }, { allowed_users: [ALICE] }, 'block'],
  [{ default_action: 'other' }, undefined, 'allow'],
  [undefined, { blocked_users: [ALICE] }, 'block'],
  [undefined, { blocked_users: ['@al?ce:*'] }, 'block'],
  [undefined, { blocked_users: ['@bob:*'] }, 'allow'],
  [undefined, { ignored_users: [ALICE], blocked_users: [ALICE] }, 'ignore'],
  [undefined, { allowed_users: [ALICE], ignored_users: [ALICE] }, 'allow'],
  [undefined, { blocked_servers: ['*.example'] }, 'block'],
  [undefined, { ignored_servers: ['a.example'] }, 'ignore'],
  [undefined, { allowed_users: [ALICE], blocked_servers: ['*'] }, 'allow'],
  [undefined, { blocked_users: [ALICE], allowed_servers: ['*'] }, 'block'],
  [undefined, { blocked_users: null, blocked_servers: 'x', ignored_users: [1, null] }, 'allow'],
];

for (const [stable, unstable, expected] of CASES) {
  test(`${JSON.stringify([stable, unstable])}: ${expected}`, () => {
    assert.equal(compileInvitePermission(stable, unstable)(ALICE), expected);
  });
}
