/**
 * Push rulesets as clients see them and storage keeps them, and their changes as pure functions. Within a kind the
 * rules stand from the most to the least important: `.m.rule.master`, what the user defined, the other predefined ones.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#push-rules
 */
import type { ErrorCode } from './errors.ts';
import type { JsonObject } from './pdu.ts';

/** The kinds of rules in the order in which they are checked. */
export const PUSH_RULE_KINDS = ['override', 'content', 'room', 'sender', 'underride'] as const;
export type PushRuleKind = (typeof PUSH_RULE_KINDS)[number];

export type PushAction = string | JsonObject;

// Type aliases rather than interfaces, so that a ruleset is a JsonObject without a conversion.
export type PushRule = {
  readonly rule_id: string;
  readonly default: boolean;
  readonly enabled: boolean;
  readonly actions: readonly PushAction[];
  /** Override and underride rules. */
  readonly conditions?: readonly JsonObject[];
  /** Content rules. */
  readonly pattern?: string;
};
export type PushRuleset = { readonly [Kind in PushRuleKind]: readonly PushRule[] };

/** Why a change of push rules was refused, as the error answer says it. */
export interface PushRuleRefusal {
  readonly errcode: ErrorCode;
  readonly error: string;
}

export interface PushRulePlace {
  /** The new rule becomes the next more important one than this. */
  readonly before?: string;
  /** The new rule becomes the next less important one than this. */
  readonly after?: string;
}

/** User-defined rules of all kinds together: each is tried for each event, by a server that others share. */
export const MAX_PUSH_RULES = 10_000;
export const MASTER_RULE_ID = '.m.rule.master';

/** Whether `kind` names a kind of push rule. */
export function isPushRuleKind(kind: string): kind is PushRuleKind {
  return PUSH_RULE_KINDS.some((known) => known === kind);
}

/** Gets a rule, user-defined or predefined. */
export function findPushRule(ruleset: PushRuleset, kind: PushRuleKind, ruleId: string): PushRule | undefined {
  return ruleset[kind].find((rule) => rule.rule_id === ruleId);
}

/**
 * Adds a user-defined rule or replaces the one with its id. A new rule becomes the most important one that the user
 * defined unless `place` says otherwise; a replaced one stays where it is, and enabled or not as it was.
 */
export function placePushRule(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  { rule, place = {} }: { readonly rule: PushRule; readonly place?: PushRulePlace },
): PushRuleset | PushRuleRefusal {
  const rules = ruleset[kind];
  const index = rules.findIndex((existing) => existing.rule_id === rule.rule_id);
  const existing = rules[index];
  if (existing === undefined && countUserRules(ruleset) >= MAX_PUSH_RULES) {
    return { errcode: 'M_TOO_LARGE', error: `A user may have ${MAX_PUSH_RULES} push rules` };
  }
  const placed = { ...rule, enabled: existing?.enabled ?? rule.enabled };
  const others = rules.filter((other) => other !== existing);
  const anchorId = place.before ?? place.after;
  if (anchorId === undefined) {
    const at = existing === undefined ? others.findIndex((other) => other.rule_id !== MASTER_RULE_ID) : index;
    return { ...ruleset, [kind]: others.toSpliced(at === -1 ? others.length : at, 0, placed) };
  }
  const anchor = others.findIndex((other) => other.rule_id === anchorId && !other.default);
  if (anchor === -1) return { errcode: 'M_UNKNOWN', error: `before/after rule not found: ${anchorId}` };
  return { ...ruleset, [kind]: others.toSpliced(place.before === undefined ? anchor + 1 : anchor, 0, placed) };
}

/** Removes a user-defined rule. */
export function removePushRule(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  ruleId: string,
): PushRuleset | PushRuleRefusal {
  const rule = findPushRule(ruleset, kind, ruleId);
  if (rule === undefined || rule.default) return NOT_FOUND;
  return { ...ruleset, [kind]: ruleset[kind].filter((other) => other !== rule) };
}

/** Changes whether a rule is enabled or what it does, which users may do with predefined rules too. */
export function changePushRule(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  { ruleId, change }: { readonly ruleId: string; readonly change: Partial<Pick<PushRule, 'enabled' | 'actions'>> },
): PushRuleset | PushRuleRefusal {
  const rule = findPushRule(ruleset, kind, ruleId);
  if (rule === undefined) return NOT_FOUND;
  return { ...ruleset, [kind]: ruleset[kind].map((other) => (other === rule ? { ...rule, ...change } : other)) };
}

const NOT_FOUND: PushRuleRefusal = { errcode: 'M_NOT_FOUND', error: 'The push rule was not found.' };

function countUserRules(ruleset: PushRuleset): number {
  return PUSH_RULE_KINDS.reduce((sum, kind) => sum + ruleset[kind].filter((rule) => !rule.default).length, 0);
}
