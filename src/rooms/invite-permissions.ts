/**
 * Whether a user of ours takes invites of somebody: asked when one is made by another user, near or far. What the server
 * itself has to say, such as its notices, nobody turns away.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#invite-permission
 */
import { parseJsonText } from '../lib/parse-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import {
  compileInvitePermission,
  INVITE_PERMISSION_TYPE,
  UNSTABLE_INVITE_PERMISSION_TYPE,
} from '../protocol/invite-permission.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type AccountDataRow, listAccountDataOf } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';

const TYPES = [INVITE_PERMISSION_TYPE, UNSTABLE_INVITE_PERMISSION_TYPE];

/** Throws M_INVITE_BLOCKED where one of the users does not take invites of the inviter. */
export async function requireWilling(
  database: Transaction,
  userIds: readonly UserId[],
  inviter: UserId,
): Promise<void> {
  if (userIds.length === 0) return;
  const rows = await listAccountDataOf(database, userIds, TYPES);
  for (const [userId, own] of Map.groupBy(rows, (row) => row.userId)) {
    const judge = compileInvitePermission(
      contentOf(own, INVITE_PERMISSION_TYPE),
      contentOf(own, UNSTABLE_INVITE_PERMISSION_TYPE),
    );
    if (judge(inviter) === 'block') throw new MatrixError('M_INVITE_BLOCKED', `${userId} does not take your invites`);
  }
}

function contentOf(rows: readonly AccountDataRow[], type: string): JsonObject | undefined {
  const row = rows.find((one) => one.type === type);
  // Only objects are ever stored.
  return row === undefined ? undefined : (parseJsonText(row.content) as JsonObject);
}
