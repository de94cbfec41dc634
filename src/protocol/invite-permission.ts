/**
 * Whose invites a user takes, as their account data has it. The spec knows all or nobody's; MSC4155 lists users and servers
 * that are let through, turned away, or heard of no more.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#invite-permission
 */
import { compileGlob } from '../lib/glob.ts';
import { serverNameOf, type UserId } from './ids.ts';
import { isJsonArray } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';

export const INVITE_PERMISSION_TYPE = 'm.invite_permission_config';
/** MSC4155: */
export const UNSTABLE_INVITE_PERMISSION_TYPE = 'org.matrix.msc4155.invite_permission_config';

/** `ignore`: the invite is made, and its user does not hear of it. */
export type InvitePermission = 'allow' | 'ignore' | 'block';
export type JudgeInviter = (inviter: UserId) => InvitePermission;

/** Patterns of each list that are looked at. */
const MAX_PATTERNS = 1_000;

export const allowAllInviters: JudgeInviter = () => 'allow';

/** From the contents of both types of account data. */
export function compileInvitePermission(
  stable: JsonObject | undefined,
  unstable: JsonObject | undefined,
): JudgeInviter {
  if (stable?.['default_action'] === 'block') return () => 'block';
  if (unstable === undefined) return allowAllInviters;
  // In the order in which they count.
  const lists = [
    { permission: 'allow', of: 'user', key: 'allowed_users' },
    { permission: 'ignore', of: 'user', key: 'ignored_users' },
    { permission: 'block', of: 'user', key: 'blocked_users' },
    { permission: 'allow', of: 'server', key: 'allowed_servers' },
    { permission: 'ignore', of: 'server', key: 'ignored_servers' },
    { permission: 'block', of: 'server', key: 'blocked_servers' },
  ] as const;
  const rules = lists.map(({ key, ...list }) => ({ ...list, matchers: compileList(unstable[key]) }));
  return (inviter) => {
    const names = { user: inviter, server: serverNameOf(inviter) };
    return rules.find(({ of, matchers }) => matchers.some((matches) => matches(names[of])))?.permission ?? 'allow';
  };
}

function compileList(value: JsonValue | undefined): readonly ((text: string) => boolean)[] {
  if (!isJsonArray(value)) return [];
  const patterns = value.filter((entry): entry is string => typeof entry === 'string');
  return patterns.slice(0, MAX_PATTERNS).map((pattern) => compileGlob(pattern));
}
