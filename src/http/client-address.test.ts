import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAddressReader, rateLimitKey } from './client-address.ts';

const read = createAddressReader(['127.0.0.1', '10.0.0.0/8', 'fd00::/8']);

const cases: readonly [string | undefined, string | undefined, string][] = [
  ['203.0.113.1', undefined, '203.0.113.1'],
  ['203.0.113.1', '198.51.100.1', '203.0.113.1'],
  ['127.0.0.1', undefined, '127.0.0.1'],
  ['127.0.0.1', '198.51.100.1', '198.51.100.1'],
  ['::ffff:127.0.0.1', '198.51.100.1', '198.51.100.1'],
  ['::ffff:203.0.113.1', undefined, '203.0.113.1'],
  ['127.0.0.1', '192.0.2.1, 198.51.100.1', '198.51.100.1'],
  ['127.0.0.1', '198.51.100.1,10.9.9.9 , 10.1.1.1', '198.51.100.1'],
  ['127.0.0.1', '198.51.100.1, nonsense', '127.0.0.1'],
  ['127.0.0.1', 'nonsense, 198.51.100.1', '198.51.100.1'],
  ['127.0.0.1', '', '127.0.0.1'],
  ['127.0.0.1', ',,,', '127.0.0.1'],
  ['127.0.0.1', '198.51.100.1:4711', '127.0.0.1'],
  ['127.0.0.1', '10.0.0.5', '10.0.0.5'],
  ['fd00::1', '2001:db8::7', '2001:db8::7'],
  [undefined, '198.51.100.1', '198.51.100.1'],
  [undefined, undefined, 'unix'],
];
for (const [socketAddress, forwardedFor, expected] of cases) {
  test(`E9: ${socketAddress} with "${forwardedFor}" is ${expected}`, () => {
    assert.equal(read({ socketAddress, forwardedFor }), expected);
  });
}

test('a range that is none is refused', () => {
  assert.throws(() => createAddressReader(['example.org']), /example\.org/);
});

test('IPv6 counts by its /64', () => {
  assert.equal(rateLimitKey('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64');
  assert.equal(rateLimitKey('2001:db8::1'), '2001:db8:0:0::/64');
  assert.equal(rateLimitKey('2001:db8:0:0:ffff::'), '2001:db8:0:0::/64');
  assert.equal(rateLimitKey('::1'), '0:0:0:0::/64');
  assert.equal(rateLimitKey('192.0.2.1'), '192.0.2.1');
});
