/**
 * Evaluation of push rules: a user's ruleset is compiled once and then run against each event. The first enabled rule
 * that matches decides, in the order of kinds and, within a kind, of the list.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#push-rules
 */
import type { UserId } from './ids.ts';
import { isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import {
  BODY_PATH,
  compileCondition,
  eventMatches,
  type PushEvaluation,
  type PushPredicate,
} from './push-conditions.ts';
import { TEXT_MENTION_RULES } from './push-rules-default.ts';
import {
  PUSH_RULE_KINDS,
  type PushAction,
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
} from './push-ruleset.ts';
import type { PushSubject } from './push-subject.ts';

/** A user's rules ready to run. */
export interface CompiledRuleset {
  readonly userId: UserId;
  readonly rules: readonly CompiledRule[];
}

interface CompiledRule {
  readonly matches: PushPredicate;
  readonly outcome: PushOutcome;
}

export interface PushOutcome {
  readonly notify: boolean;
  /** The notification is to be highlighted; never true without `notify`. */
  readonly highlight: boolean;
  /** What the push gateway is told beside the event. */
  readonly tweaks: JsonObject;
  /** The rule that decided; undefined where none matched. */
  readonly ruleId: string | undefined;
}

export interface PushContext {
  /** The user's display name in the room. */
  readonly displayName?: string | undefined;
}

/**
 * Characters that the rules of one user may read of one event, over all of them. A thousand rules over a body of full
 * size come to that; beyond it only a ruleset made to be expensive goes, and its remaining rules don't match.
 */
export const MAX_CHARACTERS_READ = 16 * 1024 * 1024;

/** Compiles the enabled rules of a user. */
export function compileRuleset(ruleset: PushRuleset, userId: UserId): CompiledRuleset {
  const rules = PUSH_RULE_KINDS.flatMap((kind) =>
    ruleset[kind]
      .filter((rule) => rule.enabled)
      .map((rule) => ({ matches: withoutMentions(rule, compileRule(kind, rule)), outcome: readActions(rule) })),
  );
  return { userId, rules };
}

/** Finds what an event means to a user. Nobody is notified of what they sent themselves. */
export function evaluatePushRules(rules: CompiledRuleset, subject: PushSubject, context: PushContext): PushOutcome {
  if (subject.event.sender === rules.userId) return NO_NOTIFICATION;
  let left = MAX_CHARACTERS_READ;
  const mayRead = (characters: number): boolean => {
    left -= characters;
    return left >= 0;
  };
  const evaluation: PushEvaluation = { subject, displayName: context.displayName, mayRead };
  return rules.rules.find((rule) => rule.matches(evaluation))?.outcome ?? NO_NOTIFICATION;
}

const NO_NOTIFICATION: PushOutcome = Object.freeze({
  notify: false,
  highlight: false,
  tweaks: Object.freeze({}),
  ruleId: undefined,
});

function compileRule(kind: PushRuleKind, rule: PushRule): PushPredicate {
  switch (kind) {
    case 'override':
    case 'underride':
      return all((rule.conditions ?? []).map(compileCondition));
    case 'content':
      return rule.pattern === undefined ? () => false : eventMatches(BODY_PATH, rule.pattern);
    case 'room':
      return ({ subject }) => subject.event.roomId === rule.rule_id;
    case 'sender':
      return ({ subject }) => subject.event.sender === rule.rule_id;
  }
}

/** Where the sender says whom the event mentions, its text is not searched for names. */
function withoutMentions(rule: PushRule, matches: PushPredicate): PushPredicate {
  if (!rule.default || !TEXT_MENTION_RULES.has(rule.rule_id)) return matches;
  return (evaluation) => evaluation.subject.property('content.m\\.mentions') === undefined && matches(evaluation);
}

function all(predicates: readonly PushPredicate[]): PushPredicate {
  const [only] = predicates;
  if (predicates.length === 1 && only !== undefined) return only;
  return (evaluation) => predicates.every((predicate) => predicate(evaluation));
}

function readActions(rule: PushRule): PushOutcome {
  const notify = rule.actions.includes('notify');
  // `fromEntries` makes own properties even of names such as `__proto__`.
  const tweaks = Object.fromEntries(rule.actions.flatMap(readTweak));
  return { notify, highlight: notify && tweaks['highlight'] === true, tweaks, ruleId: rule.rule_id };
}

function readTweak(action: PushAction): readonly (readonly [string, JsonValue])[] {
  const name = isJsonObject(action) ? action['set_tweak'] : undefined;
  if (!isJsonObject(action) || typeof name !== 'string') return [];
  const value = action['value'] ?? (name === 'highlight' ? true : undefined);
  return value === undefined ? [] : [[name, value]];
}
