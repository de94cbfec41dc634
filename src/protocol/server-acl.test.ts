import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import vectors from '../../test/vectors/server-acl/decisions.json' with { type: 'json' };
import type { JsonObject } from './pdu.ts';
import { compileServerAcl, isServerAllowed } from './server-acl.ts';

interface Vector {
  readonly name: string;
  readonly content?: JsonObject;
  readonly allowed: readonly string[];
  readonly denied: readonly string[];
}

for (const { name, content, allowed, denied } of vectors as readonly Vector[]) {
  test(name, () => {
    for (const server of allowed) assert.ok(isServerAllowed(server, content), `${server} is allowed`);
    for (const server of denied) assert.ok(!isServerAllowed(server, content), `${server} is denied`);
  });
}

test('a compiled list gives the same answer every time, for more names than it remembers', () => {
  const acl = compileServerAcl({ allow: ['*.org'], deny: ['s*7.org'] });
  const names = Array.from({ length: 3_000 }, (_, index) => `s${index}.org`);
  for (const round of [1, 2]) {
    for (const [index, name] of names.entries()) {
      assert.equal(acl.isAllowed(name), index % 10 !== 7, `${name} in round ${round}`);
      assert.equal(acl.isAllowed(name.toUpperCase()), index % 10 !== 7);
    }
  }
});

test('18: no content throws, and only a list of strings allows anyone', () => {
  const names = fc.constantFrom('example.org', '1.2.3.4:5', '[::1]', '', '*', 'a?b');
  const value = fc.jsonValue({ maxDepth: 3 });
  const content = fc.record({ allow: value, deny: value, allow_ip_literals: value }, { requiredKeys: [] });
  fc.assert(
    fc.property(content, fc.oneof(names, fc.string()), (acl, server) => {
      const isAllowed = isServerAllowed(server, acl as JsonObject);
      assert.ok(!isAllowed || Array.isArray(acl.allow));
    }),
  );
});

/** The most patterns that a 64 KiB event holds, each made so that it nearly matches and has to be tried everywhere. */
function hostilePatterns(make: (index: number) => string): readonly string[] {
  const patterns: string[] = [];
  for (let bytes = 0, index = 0; ; index++) {
    const pattern = make(index);
    bytes += pattern.length + 3;
    if (bytes > 65_000) return patterns;
    patterns.push(pattern);
  }
}

const HOSTILE: readonly (readonly [string, readonly string[]])[] = [
  ['many short ones', hostilePatterns((index) => `*?*?${index.toString(36)}`)],
  ['a repeated one', hostilePatterns(() => '*?*?*?*?*b')],
  ['one that fills the event', ['*?'.repeat(32_000)]],
  ['long ones', hostilePatterns((index) => `${'*a'.repeat(100)}*${index}b`)],
];

for (const [name, patterns] of HOSTILE) {
  test(`C2: a list of 64 KiB with ${name} costs under a millisecond a check`, () => {
    const server = 'a'.repeat(250);
    const acl = compileServerAcl({ allow: ['*'], deny: patterns });
    const first = timeOf(() => acl.isAllowed(server));
    assert.ok(first < 500, `the first check took ${first} ms`);
    // The median, since other tests run at the same time.
    const later = Array.from({ length: 101 }, () => timeOf(() => acl.isAllowed(server))).sort((a, b) => a - b);
    assert.ok((later[50] ?? 1) < 1, `a later check took ${later[50]} ms`);
  });
}

function timeOf(work: () => unknown): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / 1e6;
}
