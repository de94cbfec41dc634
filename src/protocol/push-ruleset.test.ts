import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { UserId } from './ids.ts';
import type { JsonValue } from './pdu.ts';
import { parsePushActions, parsePushRule } from './push-rule-parse.ts';
import { createDefaultRules, restoreRuleset } from './push-rules-default.ts';
import {
  changePushRule,
  findPushRule,
  isPushRuleKind,
  MAX_PUSH_RULES,
  type PushRule,
  type PushRuleKind,
  type PushRulePlace,
  type PushRuleRefusal,
  type PushRuleset,
  placePushRule,
  removePushRule,
} from './push-ruleset.ts';

const ME = '@me:a.example' as UserId;

function rule(rule_id: string, fields: Partial<PushRule> = {}): PushRule {
  return { rule_id, default: false, enabled: true, actions: [], conditions: [], ...fields };
}

function accepted<T extends object>(result: T | PushRuleRefusal): T {
  assert.ok(!('errcode' in result), JSON.stringify(result));
  return result;
}

function refused(result: object): string {
  assert.ok('errcode' in result, JSON.stringify(result));
  return String(result.errcode);
}

function place(ruleset: PushRuleset, id: string, where: PushRulePlace = {}): PushRuleset {
  return accepted(placePushRule(ruleset, 'override', { rule: rule(id), place: where }));
}

/** The user's rules, and the predefined ones as dots. */
function order(ruleset: PushRuleset): string {
  return ruleset.override.map((one) => (one.default ? '.' : one.rule_id)).join('');
}

const PREDEFINED = createDefaultRules(ME).override.length - 1;
const AFTER = '.'.repeat(PREDEFINED);

describe('createDefaultRules', () => {
  test('has the rules of the spec in its order', () => {
    const { override, underride, content, room, sender } = createDefaultRules(ME);
    assert.deepEqual(
      override.map((one) => one.rule_id.replace('.m.rule.', '')),
      [
        'master',
        'suppress_notices',
        'invite_for_me',
        'member_event',
        'is_user_mention',
        'contains_display_name',
        'is_room_mention',
        'roomnotif',
        'tombstone',
        'reaction',
        'room.server_acl',
        'suppress_edits',
      ],
    );
    assert.deepEqual(
      underride.map((one) => one.rule_id.replace('.m.rule.', '')),
      ['call', 'encrypted_room_one_to_one', 'room_one_to_one', 'message', 'encrypted'],
    );
    assert.deepEqual(
      content.map((one) => one.rule_id.replace('.m.rule.', '')),
      ['contains_user_name'],
    );
    assert.deepEqual([room, sender], [[], []]);
    const all = [...override, ...content, ...underride];
    assert.ok(all.every((one) => one.default && one.enabled === (one.rule_id !== '.m.rule.master')));
  });

  test('is JSON as it is', () => {
    const rules = createDefaultRules(ME, { polls: true });
    assert.deepEqual(JSON.parse(JSON.stringify(rules)), rules);
  });
});

describe('placePushRule', () => {
  const base = ['c', 'b', 'a'].reduce((ruleset, id) => place(ruleset, id), createDefaultRules(ME));

  test('puts a new rule above the others of the user, below the master rule', () => {
    assert.equal(order(base), `.abc${AFTER}`);
  });

  test('C15: puts a rule before or after another, at the edges too', () => {
    assert.equal(order(place(base, 'x', { before: 'a' })), `.xabc${AFTER}`);
    assert.equal(order(place(base, 'x', { before: 'c' })), `.abxc${AFTER}`);
    assert.equal(order(place(base, 'x', { after: 'a' })), `.axbc${AFTER}`);
    assert.equal(order(place(base, 'x', { after: 'c' })), `.abcx${AFTER}`);
    assert.equal(order(place(base, 'x', { before: 'b', after: 'c' })), `.axbc${AFTER}`);
  });

  test('moves a rule that is there', () => {
    assert.equal(order(place(base, 'a', { after: 'c' })), `.bca${AFTER}`);
    assert.equal(order(place(base, 'c', { before: 'a' })), `.cab${AFTER}`);
    assert.equal(order(place(base, 'a', { after: 'b' })), `.bac${AFTER}`);
  });

  test('replaces a rule in its place and leaves it disabled', () => {
    const disabled = accepted(changePushRule(base, 'override', { ruleId: 'b', change: { enabled: false } }));
    const ruleset = accepted(placePushRule(disabled, 'override', { rule: rule('b', { actions: ['notify'] }) }));
    assert.equal(order(ruleset), `.abc${AFTER}`);
    assert.deepEqual(findPushRule(ruleset, 'override', 'b'), rule('b', { actions: ['notify'], enabled: false }));
  });

  test('refuses a place beside a rule that is unknown, predefined, of another kind or the same', () => {
    for (const id of ['z', '.m.rule.master', '.m.rule.suppress_edits', 'a', '__proto__']) {
      for (const where of [{ before: id }, { after: id }]) {
        assert.equal(refused(placePushRule(base, 'override', { rule: rule('a'), place: where })), 'M_UNKNOWN');
      }
    }
    assert.equal(refused(placePushRule(base, 'underride', { rule: rule('x'), place: { after: 'a' } })), 'M_UNKNOWN');
  });

  test('works for kinds without rules', () => {
    const ruleset = accepted(placePushRule(base, 'room', { rule: rule('x') }));
    assert.deepEqual(
      ruleset.room.map((one) => one.rule_id),
      ['x'],
    );
  });

  test('C15: bounds the number of rules, yet lets them be replaced', () => {
    const many = Array.from({ length: MAX_PUSH_RULES - 3 }, (_, index) => rule(`${index}`));
    const full = { ...base, content: many };
    assert.equal(refused(placePushRule(full, 'override', { rule: rule('x') })), 'M_TOO_LARGE');
    accepted(placePushRule(full, 'override', { rule: rule('a') }));
    accepted(placePushRule({ ...full, content: many.slice(1) }, 'override', { rule: rule('x') }));
  });
});

describe('removePushRule and changePushRule', () => {
  const base = place(createDefaultRules(ME), 'a');

  test('remove what the user defined only', () => {
    assert.equal(order(accepted(removePushRule(base, 'override', 'a'))), `.${AFTER}`);
    for (const id of ['b', '.m.rule.master'])
      assert.equal(refused(removePushRule(base, 'override', id)), 'M_NOT_FOUND');
  });

  test('change predefined rules too', () => {
    const change = { enabled: false, actions: ['notify'] };
    const ruleset = accepted(changePushRule(base, 'underride', { ruleId: '.m.rule.message', change }));
    const changed = findPushRule(ruleset, 'underride', '.m.rule.message');
    assert.deepEqual([changed?.enabled, changed?.actions], [false, ['notify']]);
    assert.equal(refused(changePushRule(base, 'underride', { ruleId: 'a', change })), 'M_NOT_FOUND');
  });
});

describe('restoreRuleset', () => {
  test('gives what was stored, with the predefined rules of today', () => {
    let ruleset = place(createDefaultRules(ME), 'a');
    ruleset = accepted(changePushRule(ruleset, 'override', { ruleId: '.m.rule.reaction', change: { enabled: false } }));
    const stored = JSON.parse(JSON.stringify(ruleset)) as Record<string, { rule_id: string }[]>;
    assert.deepEqual(restoreRuleset(stored, ME), ruleset);
    const older = {
      ...stored,
      override: stored['override']?.filter((one) => one.rule_id !== '.m.rule.suppress_edits'),
    };
    const gone = { rule_id: '.m.rule.gone', default: true, enabled: true, actions: [] };
    assert.deepEqual(restoreRuleset({ ...older, underride: [gone] } as JsonValue, ME), ruleset);
  });

  test('survives what is no ruleset', () => {
    const defaults = createDefaultRules(ME);
    for (const stored of [undefined, null, 5, [], { override: 'x' }, { override: [null, {}, { rule_id: 'a' }] }]) {
      assert.deepEqual(restoreRuleset(stored, ME), defaults);
    }
  });
});

describe('parsePushRule', () => {
  const parse = (kind: PushRuleKind, id: string, body: JsonValue) => parsePushRule(kind, id, body);

  test('takes rules of every kind', () => {
    const conditions = [{ kind: 'event_match', key: 'type', pattern: 'x' }, { kind: 'org.example.unknown' }];
    const actions = ['notify', { set_tweak: 'sound', value: 'default' }];
    const common = { default: false, enabled: true, actions };
    assert.deepEqual(parse('override', 'a', { actions, conditions }), { rule_id: 'a', ...common, conditions });
    assert.deepEqual(parse('underride', 'a', { actions }), { rule_id: 'a', ...common, conditions: [] });
    assert.deepEqual(parse('content', 'a', { actions, pattern: 'cake' }), { rule_id: 'a', ...common, pattern: 'cake' });
    assert.deepEqual(parse('room', '!a:b', { actions, pattern: 'cake' }), { rule_id: '!a:b', ...common });
    assert.deepEqual(parse('sender', '@a:b', { actions, more: 1 }), { rule_id: '@a:b', ...common });
  });

  test('keeps actions of older versions, which do nothing', () => {
    const body = { actions: ['dont_notify', 'coalesce', 'notify'] };
    assert.deepEqual(accepted(parse('room', '!a:b', body)).actions, body.actions);
  });

  test('refuses bad ids', () => {
    const ids: [PushRuleKind, string][] = [
      ['override', '.m.rule.mine'],
      ['override', ''],
      ['override', 'a/b'],
      ['override', 'a\\b'],
      ['override', 'é'.repeat(513)],
      ['room', '@a:b'],
      ['sender', '!a:b'],
    ];
    for (const [kind, id] of ids) assert.equal(refused(parse(kind, id, { actions: [] })), 'M_INVALID_PARAM');
    assert.ok(!isPushRuleKind('toString') && isPushRuleKind('content'));
  });

  test('refuses bad bodies', () => {
    const bodies: [PushRuleKind, JsonValue, string][] = [
      ['override', null, 'M_BAD_JSON'],
      ['override', [], 'M_BAD_JSON'],
      ['override', {}, 'M_MISSING_PARAM'],
      ['override', { actions: 'notify' }, 'M_BAD_JSON'],
      ['override', { actions: ['stomp_feet'] }, 'M_BAD_JSON'],
      ['override', { actions: [{ set_tweak: 1 }] }, 'M_BAD_JSON'],
      ['override', { actions: [null] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: {} }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: ['x'] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{}] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{ kind: 'event_match', key: 'type' }] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{ kind: 'event_match', pattern: 'x' }] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{ kind: 'event_property_is', key: 'x', value: [] }] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{ kind: 'event_property_contains', key: 'x' }] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{ kind: 'room_member_count', is: 2 }] }, 'M_BAD_JSON'],
      ['override', { actions: [], conditions: [{ kind: 'sender_notification_permission' }] }, 'M_BAD_JSON'],
      ['content', { actions: [] }, 'M_MISSING_PARAM'],
      ['content', { actions: [], pattern: 1 }, 'M_BAD_JSON'],
      ['content', { actions: [], pattern: 'a'.repeat(1025) }, 'M_BAD_JSON'],
      ['override', { actions: [{ set_tweak: 'x', value: 'a'.repeat(5000) }] }, 'M_TOO_LARGE'],
    ];
    for (const [kind, body, errcode] of bodies) assert.equal(refused(parse(kind, 'a', body)), errcode);
  });
});

describe('parsePushActions', () => {
  test('takes lists of known actions', () => {
    assert.deepEqual(parsePushActions(['notify', 'dont_notify']), { actions: ['notify', 'dont_notify'] });
    assert.equal(refused(parsePushActions(undefined)), 'M_MISSING_PARAM');
  });
});
