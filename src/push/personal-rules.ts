/**
 * Push rules and ignored users of those who have some: everybody else has the predefined rules. Who has is known at all
 * times (some 60 bytes for each); what they are is read when an event of one of their rooms needs it, many users at
 * once, and kept up to date by the stream.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#push-rules
 */

import { Lru } from '../lib/lru.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import type { UserId } from '../protocol/ids.ts';
import {
  compileInvitePermission,
  type JudgeInviter,
  UNSTABLE_INVITE_PERMISSION_TYPE,
} from '../protocol/invite-permission.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type CompiledRuleset, compileRuleset } from '../protocol/push-rules.ts';
import { createDefaultRules, restoreRuleset } from '../protocol/push-rules-default.ts';
import { type AccountDataRow, listAccountDataOf, listUsersWithAccountData } from '../storage/account-data.ts';
import type { Transaction } from '../storage/database.ts';
import { MemberSubset } from './member-subset.ts';

export interface Personal {
  readonly rules: CompiledRuleset;
  readonly ignored: ReadonlySet<string>;
  readonly judgeInviter: JudgeInviter;
}

const RULES_TYPE = 'm.push_rules';
const IGNORED_TYPE = 'm.ignored_user_list';
const TYPES = [RULES_TYPE, IGNORED_TYPE, UNSTABLE_INVITE_PERMISSION_TYPE] as const;
/** Rules and ignored users kept compiled, about 300 bytes each: those of some 15,000 users. */
const MAX_CACHED_RULES = 300_000;
const NOBODY: ReadonlySet<string> = new Set();

export class PersonalRules {
  readonly #database: Transaction;
  /** Users with rules of their own. */
  readonly special = new MemberSubset();
  readonly #cache = new Lru<UserId, Personal>({
    maxCost: MAX_CACHED_RULES,
    costOf: ({ rules, ignored }) => rules.rules.length + ignored.size,
  });

  constructor(database: Transaction) {
    this.#database = database;
  }

  /** Has to be done before anything is asked. */
  async loadSpecial(): Promise<void> {
    for (const userId of await listUsersWithAccountData(this.#database, TYPES)) this.special.add(userId);
  }

  /** Follows the stream. */
  apply(row: AccountDataRow): void {
    if (row.roomId !== undefined || !TYPES.some((type) => type === row.type)) return;
    const { userId } = row;
    // What is known is changed in place, so that events up to the next change find just these rules, however far the
    // database is ahead. Of somebody who had neither, the other part is none.
    const known = this.#cache.peek(userId) ?? (this.special.has(userId) ? undefined : this.#remember(userId, []));
    this.special.add(userId);
    if (known === undefined) return;
    this.#cache.set(userId, { ...known, ...readChange(userId, row) });
  }

  async load(userIds: readonly UserId[]): Promise<ReadonlyMap<UserId, Personal>> {
    const known = new Map<UserId, Personal>();
    const missing: UserId[] = [];
    for (const userId of userIds) {
      const cached = this.#cache.get(userId);
      if (cached !== undefined) known.set(userId, cached);
      else if (this.special.has(userId)) missing.push(userId);
      else known.set(userId, this.#remember(userId, []));
    }
    if (missing.length === 0) return known;
    const rows = Map.groupBy(await listAccountDataOf(this.#database, missing, TYPES), ({ userId }) => userId);
    for (const userId of missing) known.set(userId, this.#remember(userId, rows.get(userId) ?? []));
    return known;
  }

  #remember(userId: UserId, rows: readonly AccountDataRow[]): Personal {
    const judgeInviter = readJudge(rows);
    const personal = { rules: readRules(userId, rows), ignored: readIgnored(rows), judgeInviter };
    this.#cache.set(userId, personal);
    return personal;
  }
}

function readRules(userId: UserId, rows: readonly AccountDataRow[]): CompiledRuleset {
  const content = contentOf(rows, RULES_TYPE);
  const rules = content === undefined ? createDefaultRules(userId) : restoreRuleset(content['global'], userId);
  return compileRuleset(rules, userId);
}

function readIgnored(rows: readonly AccountDataRow[]): ReadonlySet<string> {
  const users = contentOf(rows, IGNORED_TYPE)?.['ignored_users'];
  return isJsonObject(users) ? new Set(Object.keys(users)) : NOBODY;
}

function readJudge(rows: readonly AccountDataRow[]): JudgeInviter {
  return compileInvitePermission(undefined, contentOf(rows, UNSTABLE_INVITE_PERMISSION_TYPE));
}

function readChange(userId: UserId, row: AccountDataRow): Partial<Personal> {
  if (row.type === RULES_TYPE) return { rules: readRules(userId, [row]) };
  return row.type === IGNORED_TYPE ? { ignored: readIgnored([row]) } : { judgeInviter: readJudge([row]) };
}

function contentOf(rows: readonly AccountDataRow[], type: string): JsonObject | undefined {
  const row = rows.find((one) => one.type === type);
  // Only objects are ever stored.
  return row === undefined ? undefined : (parseJsonText(row.content) as JsonObject);
}
