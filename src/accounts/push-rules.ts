/**
 * A user's push rules: the predefined ones of today with the user's changes, kept as the account data `m.push_rules`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
 */
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import { restoreRuleset } from '../protocol/push-rules-default.ts';
import type { PushRuleRefusal, PushRuleset } from '../protocol/push-ruleset.ts';
import { type AccountData, PUSH_RULES_TYPE } from './account-data.ts';

export interface PushRules {
  load(userId: UserId): Promise<PushRuleset>;
  /** Stores what `change` makes of the rules; a refusal is thrown at the caller. */
  change(userId: UserId, change: (rules: PushRuleset) => PushRuleset | PushRuleRefusal): Promise<void>;
}

export function createPushRules({ accountData }: { readonly accountData: AccountData }): PushRules {
  const keyOf = (userId: UserId) => ({ userId, roomId: undefined, type: PUSH_RULES_TYPE });
  return {
    async load(userId) {
      const stored = await accountData.load(keyOf(userId));
      return restoreRuleset(stored?.['global'], userId);
    },
    change: (userId, change) =>
      accountData.update(keyOf(userId), (stored) => {
        const changed = change(restoreRuleset(stored?.['global'], userId));
        if ('errcode' in changed) throw new MatrixError(changed.errcode, changed.error, statusOf(changed));
        return { global: changed };
      }),
  };
}

/** An unknown rule to place another by is the client's mistake, not ours. */
function statusOf({ errcode }: PushRuleRefusal): { status?: number } {
  return errcode === 'M_UNKNOWN' ? { status: 400 } : {};
}
