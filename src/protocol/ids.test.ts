import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import grammar from '../../test/vectors/ids/grammar.json' with { type: 'json' };
import { secureRandom } from '../lib/random.ts';
import {
  createRoomId,
  createUserId,
  isNewLocalpart,
  isServerName,
  isUserId,
  localpartOf,
  MAX_ID_BYTES,
  parseEventId,
  parseRoomAlias,
  parseRoomId,
  parseServerName,
  parseUserId,
  serverNameOf,
} from './ids.ts';

interface Kind {
  readonly accepted: readonly string[];
  readonly refused: readonly string[];
}

const PARSERS: Readonly<Record<keyof typeof grammar, (text: string) => string | undefined>> = {
  serverName: parseServerName,
  userId: parseUserId,
  newLocalpart: (text) => (isNewLocalpart(text) ? text : undefined),
  roomId: parseRoomId,
  roomAlias: parseRoomAlias,
  eventId: parseEventId,
};

for (const [kind, { accepted, refused }] of Object.entries(grammar) as [keyof typeof grammar, Kind][]) {
  describe(kind, () => {
    for (const text of accepted) {
      test(`accepts ${JSON.stringify(text)}`, () => assert.equal(PARSERS[kind](text), text));
    }
    for (const text of refused) {
      test(`refuses ${JSON.stringify(text)}`, () => assert.equal(PARSERS[kind](text), undefined));
    }
  });
}

describe('255 bytes, not characters', () => {
  const domain = ':example.org';
  const sized = { '@': parseUserId, '#': parseRoomAlias, '!': parseRoomId, $: parseEventId };
  for (const [sigil, parse] of Object.entries(sized)) {
    for (const character of ['a', 'é', '本', '😀']) {
      test(`${sigil} with ${character}`, () => {
        const room = MAX_ID_BYTES - sigil.length - domain.length;
        const width = Buffer.byteLength(character);
        const localpart = character.repeat(Math.floor(room / width)) + 'b'.repeat(room % width);
        const longest = `${sigil}${localpart}${domain}`;
        assert.equal(Buffer.byteLength(longest), MAX_ID_BYTES);
        assert.equal(parse(longest), longest);
        assert.equal(parse(`${sigil}b${localpart}${domain}`), undefined);
      });
    }
  }

  test('server names', () => {
    assert.ok(isServerName('a'.repeat(255)));
    assert.ok(!isServerName('a'.repeat(256)));
    assert.ok(isServerName(`[${'0'.repeat(45)}]`));
    assert.ok(!isServerName(`[${'0'.repeat(46)}]`));
  });
});

test('the parts of an id: the domain begins at the first colon', () => {
  const table = [
    ['@a:example.org', 'a', 'example.org'],
    ['@a:example.org:8448', 'a', 'example.org:8448'],
    ['@a:[2001:db8::1]:8448', 'a', '[2001:db8::1]:8448'],
    ['@:example.org', '', 'example.org'],
  ] as const;
  for (const [id, localpart, domain] of table) {
    const userId = parseUserId(id);
    assert.ok(userId !== undefined);
    assert.equal(localpartOf(userId), localpart);
    assert.equal(serverNameOf(userId), domain);
  }
});

test('new accounts get user ids of the strict grammar only, and none that is too long', () => {
  const server = parseServerName('example.org');
  assert.ok(server !== undefined);
  assert.equal(createUserId('alice', server), '@alice:example.org');
  for (const localpart of ['', 'Alice', 'al ice', 'álice', 'a:b', 'a\0'])
    assert.equal(createUserId(localpart, server), undefined);
  assert.ok(createUserId('a'.repeat(242), server));
  assert.equal(createUserId('a'.repeat(243), server), undefined);
});

test('room ids that we make are room ids, and never the same', () => {
  const server = parseServerName('example.org');
  assert.ok(server !== undefined);
  const ids = Array.from({ length: 100 }, () => createRoomId(secureRandom, server));
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^![A-Za-z0-9]{18}:example\.org$/);
});

test('the historical grammar is everything that Unicode has but the colon, NUL and surrogates', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (localpart) => {
      assert.equal(isUserId(`@${localpart}:x`), !/[:\0]/.test(localpart));
    }),
  );
  for (const half of ['\ud800', '\udfff', 'a\udc00b']) assert.ok(!isUserId(`@${half}:x`));
});

test('no text makes a parser throw, and what it accepts survives a round trip through UTF-8', () => {
  const unit = fc.constantFrom('@', '!', '#', '$', ':', '.', '[', ']', 'a', 'é', '\ud800', '\0', '1', ' ', '%');
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit, maxLength: 20 }), fc.string({ unit: 'binary' })), (text) => {
      for (const parse of Object.values(PARSERS)) {
        const parsed = parse(text);
        if (parsed !== undefined) assert.equal(Buffer.from(parsed).toString(), text);
      }
    }),
    { numRuns: 500 },
  );
});
