/**
 * Push rules as clients send them, checked and bounded. Conditions and actions that we do not know are kept, since they
 * are for others to read and never match; what a condition or action must have is asked of it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
 */
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import type { PushAction, PushRule, PushRuleKind, PushRuleRefusal } from './push-ruleset.ts';

/** Ids name rooms, users or what a client made up; those of rooms and users have 255 bytes at most. */
export const MAX_RULE_ID_BYTES = 1024;
/** What one rule may take as JSON: 10,000 of the largest would still be a bounded account data event. */
export const MAX_RULE_BYTES = 4096;
/** Patterns are words and names; matching one costs time with its length. */
export const MAX_PATTERN_BYTES = 1024;

/** Checks a rule that a client wants to add or replace. */
export function parsePushRule(kind: PushRuleKind, ruleId: string, body: JsonValue): PushRule | PushRuleRefusal {
  const idProblem = checkRuleId(kind, ruleId);
  if (idProblem !== undefined) return { errcode: 'M_INVALID_PARAM', error: idProblem };
  if (!isJsonObject(body)) return badJson('The push rule must be an object');
  if (Buffer.byteLength(JSON.stringify(body)) > MAX_RULE_BYTES) {
    return { errcode: 'M_TOO_LARGE', error: `A push rule may take ${MAX_RULE_BYTES} bytes` };
  }
  const actions = parsePushActions(body['actions']);
  if ('errcode' in actions) return actions;
  const rule = { rule_id: ruleId, default: false, enabled: true, actions: actions.actions };
  if (kind === 'content') return withPattern(rule, body['pattern']);
  if (kind === 'override' || kind === 'underride') return withConditions(rule, body['conditions']);
  return rule;
}

/** Checks a list of actions; the historical ones are kept as the client gave them, and do nothing. */
export function parsePushActions(
  value: JsonValue | undefined,
): { readonly actions: readonly PushAction[] } | PushRuleRefusal {
  if (value === undefined) return { errcode: 'M_MISSING_PARAM', error: 'actions is missing' };
  if (!isJsonArray(value)) return badJson('actions must be an array');
  const actions: PushAction[] = [];
  for (const action of value) {
    if (!isPushAction(action)) return badJson('actions holds an unknown action');
    actions.push(action);
  }
  return { actions };
}

/** Reads a rule that was checked when it was stored; undefined where it is none after all. */
export function parseStoredRule(value: JsonValue): PushRule | undefined {
  if (!isJsonObject(value)) return undefined;
  const { rule_id, actions, enabled, conditions, pattern } = value;
  if (typeof rule_id !== 'string' || !isJsonArray(actions)) return undefined;
  return {
    rule_id,
    default: value['default'] === true,
    enabled: enabled !== false,
    actions: actions.filter(isPushAction),
    // Something that is no condition becomes an unknown one, so that the rule does not match instead of always.
    ...(isJsonArray(conditions) && { conditions: conditions.map((one) => (isJsonObject(one) ? one : {})) }),
    ...(typeof pattern === 'string' && { pattern }),
  };
}

function checkRuleId(kind: PushRuleKind, ruleId: string): string | undefined {
  if (ruleId === '') return 'The rule id is empty';
  if (ruleId.startsWith('.')) return 'Rule ids that start with a dot are predefined';
  if (/[/\\]/.test(ruleId)) return 'Rule ids have no slashes or backslashes';
  if (Buffer.byteLength(ruleId) > MAX_RULE_ID_BYTES) return `A rule id may take ${MAX_RULE_ID_BYTES} bytes`;
  if (kind === 'room' && !ruleId.startsWith('!')) return 'The id of a room rule is a room id';
  if (kind === 'sender' && !ruleId.startsWith('@')) return 'The id of a sender rule is a user id';
  return undefined;
}

/** `dont_notify` and `coalesce` come from older versions of the specification, where they did little more. */
function isPushAction(action: JsonValue): action is PushAction {
  return action === 'notify' || action === 'dont_notify' || action === 'coalesce' || isTweak(action);
}

function isTweak(action: JsonValue): action is JsonObject {
  return isJsonObject(action) && typeof action['set_tweak'] === 'string';
}

function withPattern(rule: PushRule, pattern: JsonValue | undefined): PushRule | PushRuleRefusal {
  if (pattern === undefined) return { errcode: 'M_MISSING_PARAM', error: 'pattern is missing' };
  if (typeof pattern !== 'string') return badJson('pattern must be a string');
  const problem = checkPattern(pattern);
  return problem === undefined ? { ...rule, pattern } : badJson(problem);
}

function withConditions(rule: PushRule, conditions: JsonValue | undefined): PushRule | PushRuleRefusal {
  if (conditions === undefined) return { ...rule, conditions: [] };
  if (!isJsonArray(conditions)) return badJson('conditions must be an array');
  const parsed: JsonObject[] = [];
  for (const condition of conditions) {
    if (!isJsonObject(condition)) return badJson('conditions must hold objects');
    const problem = checkCondition(condition);
    if (problem !== undefined) return badJson(problem);
    parsed.push(condition);
  }
  return { ...rule, conditions: parsed };
}

function checkCondition(condition: JsonObject): string | undefined {
  switch (condition['kind']) {
    case 'event_match':
      return checkKey(condition) ?? checkPattern(condition['pattern']);
    case 'event_property_is':
    case 'event_property_contains':
      return checkKey(condition) ?? (isScalar(condition['value']) ? undefined : 'value must not be compound');
    case 'sender_notification_permission':
      return checkKey(condition);
    case 'room_member_count':
      return typeof condition['is'] === 'string' ? undefined : 'is must be a string';
    default:
      return typeof condition['kind'] === 'string' ? undefined : 'kind must be a string';
  }
}

function checkKey(condition: JsonObject): string | undefined {
  return typeof condition['key'] === 'string' ? undefined : 'key must be a string';
}

function checkPattern(pattern: JsonValue | undefined): string | undefined {
  if (typeof pattern !== 'string') return 'pattern must be a string';
  if (Buffer.byteLength(pattern) > MAX_PATTERN_BYTES) return `A pattern may take ${MAX_PATTERN_BYTES} bytes`;
  return undefined;
}

function isScalar(value: JsonValue | undefined): boolean {
  return value !== undefined && (value === null || typeof value !== 'object');
}

function badJson(error: string): PushRuleRefusal {
  return { errcode: 'M_BAD_JSON', error };
}
