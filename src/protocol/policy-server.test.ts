import assert from 'node:assert/strict';
import { test } from 'node:test';
import vectors from '../../test/vectors/policy-server/signatures.json' with { type: 'json' };
import type { ServerName } from './ids.ts';
import type { JsonObject, Pdu } from './pdu.ts';
import {
  isSignedByPolicyServer,
  needsNoPolicySignature,
  POLICY_KEY_ID,
  readPolicyServer,
  withPolicySignature,
} from './policy-server.ts';
import { redactPdu } from './redaction.ts';
import { ROOM_VERSIONS } from './room-version.ts';
import { signedText } from './signing.ts';

const policy = { serverName: vectors.server as ServerName, publicKey: vectors.public_key };

for (const { name, version: id, event, text, signature } of vectors.events) {
  test(`the signature is one over what redaction leaves: ${name}`, () => {
    const version = ROOM_VERSIONS.get(id);
    assert.ok(version);
    const value: JsonObject = event;
    const pdu = value as Pdu;
    assert.equal(signedText(redactPdu(pdu, version)), text);
    assert.equal(isSignedByPolicyServer(pdu, version, policy), false);
    const answer = { [policy.serverName]: { [POLICY_KEY_ID]: signature, 'ed25519:other': 'b3du' }, 'else.example': {} };
    const signed = withPolicySignature(pdu, version, { policy, answer });
    assert.deepEqual(signed?.signatures, {
      ...pdu.signatures,
      [policy.serverName]: { [POLICY_KEY_ID]: signature },
    });
    assert.deepEqual({ ...signed, signatures: pdu.signatures }, pdu);
    assert.ok(isSignedByPolicyServer(signed, version, policy));
    for (const changed of [
      { ...signed, depth: 8 },
      { ...signed, sender: '@eve:example.org' },
    ]) {
      assert.equal(isSignedByPolicyServer(changed, version, policy), false);
    }
  });
}

test('a signature of its own server stays, where that has the name of the policy server', () => {
  const [vector] = vectors.events;
  const version = ROOM_VERSIONS.get('11');
  assert.ok(vector !== undefined && version !== undefined);
  const value: JsonObject = vector.event;
  const pdu: Pdu = { ...(value as Pdu), signatures: { [policy.serverName]: { 'ed25519:own': 'b3du' } } };
  const answer = { [policy.serverName]: { [POLICY_KEY_ID]: vector.signature } };
  const signed = withPolicySignature(pdu, version, { policy, answer });
  assert.deepEqual(signed?.signatures[policy.serverName], { 'ed25519:own': 'b3du', [POLICY_KEY_ID]: vector.signature });
});

test('what names a policy server, and what does not', () => {
  const keys = { ed25519: vectors.public_key };
  assert.deepEqual(readPolicyServer({ via: policy.serverName, public_keys: keys, more: 1 }), policy);
  for (const content of [
    {},
    { via: policy.serverName },
    { public_keys: keys },
    { via: 1, public_keys: keys },
    { via: 'not a name', public_keys: keys },
    { via: policy.serverName, public_keys: [vectors.public_key] },
    { via: policy.serverName, public_keys: { ed25519: 1 } },
    { via: policy.serverName, public_key: vectors.public_key },
  ]) {
    assert.equal(readPolicyServer(content), undefined);
  }
  assert.equal(needsNoPolicySignature({ type: 'm.room.policy', stateKey: '' }), true);
  assert.equal(needsNoPolicySignature({ type: 'm.room.policy', stateKey: 'x' }), false);
  assert.equal(needsNoPolicySignature({ type: 'm.room.policy', stateKey: undefined }), false);
  assert.equal(needsNoPolicySignature({ type: 'm.room.member', stateKey: '' }), false);
});
