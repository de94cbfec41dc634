import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { admitsHost, createNetworkPolicy } from './network-policy.ts';

/** The first and the last address of each network that the public internet does not have. */
const DENIED = [
  ['0.0.0.0', '0.255.255.255'],
  ['10.0.0.0', '10.255.255.255'],
  ['100.64.0.0', '100.127.255.255'],
  ['127.0.0.0', '127.255.255.255'],
  ['169.254.0.0', '169.254.255.255'],
  ['172.16.0.0', '172.31.255.255'],
  ['192.0.0.0', '192.0.0.255'],
  ['192.0.2.0', '192.0.2.255'],
  ['192.88.99.0', '192.88.99.255'],
  ['192.168.0.0', '192.168.255.255'],
  ['198.18.0.0', '198.19.255.255'],
  ['198.51.100.0', '198.51.100.255'],
  ['203.0.113.0', '203.0.113.255'],
  ['224.0.0.0', '239.255.255.255'],
  ['240.0.0.0', '255.255.255.255'],
  ['::', '::1'],
  ['::ffff:0.0.0.0', '::ffff:8.8.8.8'],
  ['64:ff9b::', '64:ff9b::ffff:ffff'],
  ['100::', '100::ffff:ffff:ffff:ffff'],
  ['2001:db8::', '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['2002::', '2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fc00::', 'fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fe80::', 'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['fec0::', 'feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ['ff00::', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
] as const;
const PUBLIC = [
  '1.1.1.1',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '2001:4860:4860::8888',
  '2606:4700::1',
  '2a00::1',
];

describe('where the server may connect to', () => {
  test('limit 39: every network that is not public is denied, from its first to its last address', () => {
    const policy = createNetworkPolicy({});
    for (const address of DENIED.flat()) assert.equal(policy.admits(address), false, address);
    for (const address of PUBLIC) assert.equal(policy.admits(address), true, address);
    for (const text of ['', 'localhost', '1.1.1', '0x7f.1', '1.1.1.1/32', '::g']) {
      assert.equal(policy.admits(text), false, text);
    }
  });

  test('D8: what is allowed is so even where it is denied otherwise, and nothing else with it', () => {
    const policy = createNetworkPolicy({ allowed: ['10.1.0.0/16', 'fd00::/8', '127.0.0.1'] });
    for (const address of ['10.1.2.3', 'fd12::1', '127.0.0.1']) assert.equal(policy.admits(address), true, address);
    for (const address of ['10.2.0.0', 'fc00::1', '127.0.0.2']) assert.equal(policy.admits(address), false, address);
  });

  test('D8: what is denied is so beside what always is', () => {
    const policy = createNetworkPolicy({ denied: ['1.1.1.0/24', '2606:4700::/32'] });
    for (const address of ['1.1.1.1', '2606:4700::1', '10.0.0.1']) assert.equal(policy.admits(address), false, address);
    for (const address of ['1.1.2.1', '2a00::1']) assert.equal(policy.admits(address), true, address);
  });

  test('a name is not judged before it is looked up, an address in a URL is', () => {
    const policy = createNetworkPolicy({});
    for (const host of ['example.org', 'localhost', '1.1.1.1', '[2a00::1]'])
      assert.equal(admitsHost(policy, host), true);
    for (const host of ['127.0.0.1', '[::1]', '[::ffff:7f00:1]']) assert.equal(admitsHost(policy, host), false, host);
  });

  test('what is no network is refused', () => {
    assert.throws(() => createNetworkPolicy({ allowed: ['example.org'] }), /not an IP address/);
  });
});
