import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type AuthCase, loadAuthCases, makeState, toEvent } from '../../test/support/auth-vectors.ts';
import { getRuleId, getRuleNumbers, RULES, type RuleInfo, type RuleKey } from './auth-rule-table.ts';
import { checkAuth, checkAuthEvents, decideAuth } from './auth-rules.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import { ROOM_VERSIONS } from './room-version.ts';

const cases = loadAuthCases();
const versions = [...ROOM_VERSIONS.values()];

describe('auth rule vectors', () => {
  for (const version of versions) {
    it(`room version ${version.id}`, async (t) => {
      for (const one of cases.filter((candidate) => candidate.version === version)) {
        await t.test(one.name, () => runCase(one));
      }
    });
  }
});

function runCase(one: AuthCase): void {
  const { event, state, version, authEvents, isRejected } = one;
  const verdict =
    authEvents === undefined
      ? checkAuth(event, state, version)
      : checkAuthEvents(event, authEvents, { version, isRejected });
  if (one.rejectedBy !== undefined) {
    assert.equal(verdict.allowed, false);
    assert.equal(verdict.rule, one.rejectedBy);
    assert.ok(verdict.reason.length > 0);
    return;
  }
  assert.deepEqual(verdict, { allowed: true });
  // A vector of a rule that allows shows something only if that very rule allowed.
  if (effectOf(one.rule) !== 'reject') {
    assert.equal(getRuleId(decideAuth(event, state, version).key, version), one.ruleId);
  }
}

function effectOf(key: string): RuleInfo['effect'] | undefined {
  return Object.entries(RULES).find(([name]) => name === key)?.[1].effect;
}

describe('the report of auth rules without vectors', () => {
  it('is empty', () => {
    const accepted = new Set(cases.filter(({ rejectedBy }) => rejectedBy === undefined).map(({ ruleId }) => ruleId));
    const rejected = new Set(cases.filter(({ rejectedBy }) => rejectedBy !== undefined).map(({ ruleId }) => ruleId));
    const missing: string[] = [];
    for (const version of versions) {
      for (const [key, number] of getRuleNumbers(version)) {
        const { effect, oneSided }: RuleInfo = RULES[key];
        const id = `v${version.id}:${number}`;
        const needsAccepting = oneSided === undefined || effect === 'allow';
        const needsRejecting = oneSided === undefined || effect === 'reject';
        if (needsAccepting && !accepted.has(id)) missing.push(`${id} (${key}) accepting`);
        if (needsRejecting && !rejected.has(id)) missing.push(`${id} (${key}) rejecting`);
      }
    }
    assert.deepEqual(missing, []);
  });

  it('knows every rule that a vector names, by key and number', () => {
    const unknown = cases.filter(
      ({ rule, ruleId, version }) => !isRuleKey(rule) || getRuleId(rule, version) !== ruleId,
    );
    assert.deepEqual(
      unknown.map(({ name, ruleId }) => `${ruleId} ${name}`),
      [],
    );
  });

  it('gives each number once', () => {
    for (const version of versions) {
      const numbers = [...getRuleNumbers(version).values()];
      assert.equal(new Set(numbers).size, numbers.length);
    }
  });
});

function isRuleKey(key: string): key is RuleKey {
  return Object.hasOwn(RULES, key);
}

describe('any JSON', () => {
  const json = fc.jsonValue({ maxDepth: 4 }).map((value) => value as JsonValue);
  const object = fc.dictionary(fc.oneof(fc.string(), fc.constantFrom(...WORDS())), json, { maxKeys: 6 });
  const user = fc.constantFrom('@alice:a.test', '@bob:b.test', '', '@', 'x', '@:');
  const content = fc.tuple(object, hints()).map(([some, more]): JsonObject => ({ ...some, ...more }));
  const type = fc.constantFrom(...TYPES(), 'm.room.message', 'constructor', '__proto__');
  const entry = fc.tuple(fc.constantFrom(...TYPES()), fc.oneof(fc.constant(''), user), user, content);
  const event = fc.record({ type, sender: user, content, state_key: fc.oneof(fc.constant(''), user) });

  it('gets a verdict and never an exception', () => {
    fc.assert(
      fc.property(fc.constantFrom(...versions), event, fc.array(entry, { maxLength: 8 }), (version, wire, entries) => {
        const judged = toEvent(wire, version);
        const state = makeState([['m.room.create', '', '@alice:a.test', {}], ...entries], version);
        const authEvents = entries.map(([kind, stateKey, sender, value]) =>
          toEvent({ type: kind, state_key: stateKey, sender, content: value }, version),
        );
        const verdicts = [
          checkAuth(judged, state, version),
          checkAuthEvents(judged, authEvents, { version, isRejected: () => false }),
        ];
        for (const verdict of verdicts) {
          if (!verdict.allowed) assert.match(verdict.rule, /^v\d+:\d+(\.\d+)*$/);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

function TYPES(): readonly string[] {
  return [
    'm.room.create',
    'm.room.member',
    'm.room.power_levels',
    'm.room.join_rules',
    'm.room.third_party_invite',
    'm.room.aliases',
    'm.room.redaction',
  ];
}

function WORDS(): readonly string[] {
  return ['users', 'events', 'ban', 'creator', 'additional_creators', '__proto__', 'constructor', 'room_version'];
}

/** Contents that reach further into the rules than arbitrary JSON would. */
function hints(): fc.Arbitrary<JsonObject> {
  const level = fc.constantFrom<JsonValue>(0, 50, 1.5, '7', 'x', null, -1, 2 ** 53, Number.NaN, [], {});
  const signed = { mxid: '@bob:b.test', token: '', signatures: { x: { 'ed25519:1': 'AA' }, y: null } };
  return fc.oneof(
    fc.constant({}),
    fc.constantFrom('join', 'invite', 'leave', 'ban', 'knock').map((membership) => ({ membership })),
    fc.constant({ membership: 'invite', third_party_invite: { signed } }),
    fc.constant({ public_key: 'AA', public_keys: [null, { public_key: 'x' }] }),
    fc.constantFrom('public', 'knock', 'restricted', 'knock_restricted').map((join_rule) => ({ join_rule })),
    level.map((ban): JsonObject => ({ ban, users: { '@alice:a.test': ban }, events: { 'm.room.message': ban } })),
  );
}
