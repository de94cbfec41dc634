import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { EventId, RoomId, UserId } from './ids.ts';
import type { Event, JsonObject } from './pdu.ts';
import { compileRuleset, evaluatePushRules, type PushOutcome } from './push-rules.ts';
import { createDefaultRules } from './push-rules-default.ts';
import type { PushRule, PushRuleset } from './push-ruleset.ts';
import { createPushSubject, type PushSubject } from './push-subject.ts';

const ME = '@me:a.example' as UserId;
const EMPTY: PushRuleset = { override: [], content: [], room: [], sender: [], underride: [] };

interface EventVector {
  readonly type: string;
  readonly state_key?: string;
  readonly sender: string;
  readonly content: JsonObject;
}

interface Situation {
  readonly event: EventVector;
  readonly member_count?: number;
  readonly may_notify?: readonly string[];
  readonly display_name?: string | null;
}

interface DefaultRuleVector extends Situation {
  readonly name: string;
  readonly polls?: boolean;
  readonly expected: Omit<PushOutcome, 'ruleId'> & { readonly rule_id: string | null };
}

interface ConditionVector extends Situation {
  readonly name: string;
  readonly condition: JsonObject;
  readonly matches: boolean;
}

function readVectors<T>(file: string): readonly T[] {
  return JSON.parse(readFileSync(new URL(`../../test/vectors/push-rules/${file}`, import.meta.url), 'utf8')) as T[];
}

function subjectOf({ event, member_count = 3, may_notify = [] }: Situation): PushSubject {
  const full: Event = {
    eventId: '$event' as EventId,
    roomId: '!room:a.example' as RoomId,
    type: event.type,
    sender: event.sender as UserId,
    stateKey: event.state_key,
    content: event.content,
    depth: 1,
    originServerTs: 1,
    prevEvents: [],
    authEvents: [],
    redacts: undefined,
    pdu: {
      ...event,
      origin_server_ts: 1,
      depth: 1,
      hashes: { sha256: '' },
      signatures: {},
      prev_events: [],
      auth_events: [],
    },
  };
  return createPushSubject(full, { memberCount: member_count, canNotify: (key) => may_notify.includes(key) });
}

function evaluate(ruleset: PushRuleset, situation: Situation): PushOutcome {
  const context = { displayName: situation.display_name ?? undefined };
  return evaluatePushRules(compileRuleset(ruleset, ME), subjectOf(situation), context);
}

function rule(fields: Partial<PushRule>): PushRule {
  return { rule_id: 'rule', default: false, enabled: true, actions: ['notify'], ...fields };
}

function message(body: string, fields: Partial<EventVector> = {}): Situation {
  return { event: { type: 'm.room.message', sender: '@ben:b.example', content: { body }, ...fields } };
}

describe('predefined rules', () => {
  for (const { name, polls = false, expected, ...situation } of readVectors<DefaultRuleVector>('default-rules.json')) {
    test(name, () => {
      const { ruleId, ...outcome } = evaluate(createDefaultRules(ME, { polls }), situation);
      assert.deepEqual({ ...outcome, rule_id: ruleId ?? null }, expected);
    });
  }

  test('do nothing once the master rule is enabled', () => {
    const rules = createDefaultRules(ME);
    const override = rules.override.map((one) => ({ ...one, enabled: true }));
    assert.equal(evaluate({ ...rules, override }, message('hi')).ruleId, '.m.rule.master');
  });
});

describe('conditions', () => {
  for (const { name, condition, matches, ...situation } of readVectors<ConditionVector>('conditions.json')) {
    test(name, () => {
      const ruleset = { ...EMPTY, override: [rule({ conditions: [condition] })] };
      assert.equal(evaluate(ruleset, situation).notify, matches);
    });
  }
});

describe('evaluatePushRules', () => {
  test('goes through the kinds in order, and through each list in order', () => {
    const all = { conditions: [] };
    const room = rule({ rule_id: '!room:a.example' });
    const sender = rule({ rule_id: '@ben:b.example' });
    const steps: readonly Partial<PushRuleset>[] = [
      { underride: [rule({ ...all, rule_id: 'u1' }), rule({ ...all, rule_id: 'u2' })] },
      { sender: [sender] },
      { room: [room] },
      { content: [rule({ rule_id: 'c1', pattern: 'cake' })] },
      { override: [rule({ ...all, rule_id: 'o1' }), rule({ ...all, rule_id: 'o2' })] },
    ];
    const expected = ['u1', '@ben:b.example', '!room:a.example', 'c1', 'o1'];
    let ruleset = EMPTY;
    for (const [index, step] of steps.entries()) {
      ruleset = { ...ruleset, ...step };
      assert.equal(evaluate(ruleset, message('more cake')).ruleId, expected[index]);
    }
  });

  test('needs all conditions of a rule', () => {
    const conditions = [
      { kind: 'event_match', key: 'type', pattern: 'm.room.message' },
      { kind: 'event_match', key: 'content.body', pattern: 'cake' },
    ];
    const ruleset = { ...EMPTY, override: [rule({ conditions })] };
    assert.equal(evaluate(ruleset, message('cake')).notify, true);
    assert.equal(evaluate(ruleset, message('tea')).notify, false);
  });

  test('leaves disabled rules and rules for other rooms and senders out', () => {
    const ruleset = {
      ...EMPTY,
      override: [rule({ enabled: false, conditions: [] })],
      content: [rule({ pattern: 'cake' }), rule({})],
      room: [rule({ rule_id: '!other:a.example' })],
      sender: [rule({ rule_id: '@other:a.example' })],
    };
    assert.equal(evaluate(ruleset, message('hi')).ruleId, undefined);
  });

  test('reads tweaks, and ignores actions of older versions', () => {
    const actionsOf = (actions: PushRule['actions']) =>
      evaluate({ ...EMPTY, override: [rule({ conditions: [], actions })] }, message('hi'));
    const { notify, highlight, tweaks } = actionsOf([
      'notify',
      'coalesce',
      { set_tweak: 'sound' },
      { set_tweak: 'highlight', value: false },
      { set_tweak: 'org.example.light', value: [1] },
    ]);
    assert.deepEqual([notify, highlight, tweaks], [true, false, { highlight: false, 'org.example.light': [1] }]);
    assert.equal(actionsOf(['dont_notify']).notify, false);
    assert.equal(actionsOf([{ set_tweak: 'highlight' }]).highlight, false);
    assert.deepEqual(Object.keys(actionsOf(['notify', { set_tweak: '__proto__', value: 'x' }]).tweaks), ['__proto__']);
  });

  test('works an event out once for all users', () => {
    const body = 'x'.repeat(100);
    let reads = 0;
    const content = {
      get body(): string {
        reads++;
        return body;
      },
    };
    const subject = subjectOf({ event: { type: 'm.room.message', sender: '@ben:b.example', content } });
    for (let user = 0; user < 1000; user++) {
      const userId = `@user${user}:a.example` as UserId;
      const rules = { ...createDefaultRules(userId), content: [rule({ pattern: `word${user}` })] };
      assert.equal(evaluatePushRules(compileRuleset(rules, userId), subject, {}).ruleId, '.m.rule.message');
    }
    assert.equal(reads, 1);
  });

  test('C3: is not slowed down by hostile patterns', () => {
    const body = 'a'.repeat(60_000);
    const content = ['*a*a*a*a*a*a*b', `${'*a'.repeat(400)}b`, `${'?'.repeat(1000)}b`].map((pattern) =>
      rule({ pattern }),
    );
    assert.equal(evaluate({ ...EMPTY, content }, message(body)).notify, false);
  });

  test('bounds what all the rules of a user read of one event', () => {
    const body = `cake ${'a'.repeat(60_000)}`;
    const useless = Array.from({ length: 10_000 }, (_, index) => rule({ pattern: `no${index}` }));
    const last = rule({ rule_id: 'last', pattern: 'cake' });
    assert.equal(evaluate({ ...EMPTY, content: [...useless.slice(0, 200), last] }, message(body)).ruleId, 'last');
    assert.equal(evaluate({ ...EMPTY, content: [...useless, last] }, message(body)).ruleId, undefined);
    assert.equal(evaluate({ ...EMPTY, content: [...useless, last] }, message('cake')).ruleId, 'last');
  });

  test('throws at no rule and no event', () => {
    fc.assert(
      fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue())), fc.jsonValue(), (conditions, body) => {
        const kinds = ['event_match', 'event_property_is', 'event_property_contains', 'room_member_count'];
        const all = [...conditions, ...conditions.flatMap((one) => kinds.map((kind) => ({ ...one, kind })))];
        const override = all.map((one) => rule({ conditions: [one as JsonObject] }));
        const content = { body } as JsonObject;
        evaluate({ ...EMPTY, override }, { event: { type: 'x', sender: '@b:b', content } });
      }),
    );
  });
});
