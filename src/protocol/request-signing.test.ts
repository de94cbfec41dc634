import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isXMatrix, parseXMatrix, requestSigningText, signRequest } from './request-signing.ts';
import { createSigningKey, decodeBase64, verifyJson } from './signing.ts';

const SIG = 'ABCDEF+/_-09';
const READ = { origin: 'origin.hs.example.com', destination: undefined, keyId: 'ed25519:key1', signature: SIG };

describe('X-Matrix headers', () => {
  test('limit 9: what servers send is understood, however they write it', () => {
    const full = { ...READ, destination: 'destination.hs.example.com' };
    const vectors: readonly (readonly [string, object])[] = [
      [`X-Matrix origin="origin.hs.example.com",key="ed25519:key1",sig="${SIG}"`, READ],
      [`X-Matrix origin=origin.hs.example.com,key="ed25519:key1",sig="${SIG}"`, READ],
      [`x-matrix   sig=${SIG},key=ed25519:key1,origin=origin.hs.example.com`, READ],
      [`X-MATRIX ORIGIN=origin.hs.example.com , Key=ed25519:key1 ,\tsig = "${SIG}"`, READ],
      [
        `X-Matrix origin="origin.hs.example.com",destination="destination.hs.example.com",key="ed25519:key1",sig="${SIG}"`,
        full,
      ],
      [`X-Matrix origin="o\\rigin.hs.example.com",key="ed25519\\:key1",sig="${SIG}"`, READ],
      [`X-Matrix origin="origin.hs.example.com",extra="a,b=\\"c",key="ed25519:key1",sig="${SIG}",`, READ],
      [`X-Matrix origin=origin.hs.example.com,origin=evil.example,key="ed25519:key1",sig="${SIG}"`, READ],
      [`X-Matrix origin=example.com:8448,key=ed25519:key1,sig=${SIG}`, { ...READ, origin: 'example.com:8448' }],
      [`X-Matrix origin="[::1]:8448",key=ed25519:key1,sig=${SIG}`, { ...READ, origin: '[::1]:8448' }],
    ];
    for (const [header, expected] of vectors) assert.deepEqual(parseXMatrix(header), expected, header);
  });

  test('limit 9: what lacks a part, or is malformed, is nothing', () => {
    for (const header of [
      '',
      'X-Matrix',
      'X-Matrix ',
      `X-Matrix\torigin=a,key=ed25519:1,sig=${SIG}`,
      `Bearer origin=a,key=ed25519:1,sig=${SIG}`,
      `X-Matrix key=ed25519:1,sig=${SIG}`,
      `X-Matrix origin=a,sig=${SIG}`,
      'X-Matrix origin=a,key=ed25519:1',
      `X-Matrix origin=a b,key=ed25519:1,sig=${SIG}`,
      `X-Matrix origin="a,key=ed25519:1,sig=${SIG}`,
      `X-Matrix origin=a/b,key=ed25519:1,sig=${SIG}`,
      `X-Matrix origin=a:99999,key=ed25519:1,sig=${SIG}`,
      `X-Matrix origin=a:http,key=ed25519:1,sig=${SIG}`,
      `X-Matrix origin=a,key=ed25519,sig=${SIG}`,
      `X-Matrix origin=a,key="ed25519:b\nc",sig=${SIG}`,
      'X-Matrix origin=a,key=ed25519:1,sig="not base64!"',
      `X-Matrix origin=a,key=ed25519:1,sig=${SIG},x="${'y'.repeat(5000)}"`,
    ]) {
      assert.equal(parseXMatrix(header), undefined, header.slice(0, 80));
    }
  });

  test('limit 9: no header throws or takes long', () => {
    const piece = fc.constantFrom(
      'X-Matrix ',
      'origin',
      'key',
      'sig',
      '=',
      ',',
      '"',
      '\\',
      ' ',
      'a:1',
      'ed25519:1',
      '\t',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string()), { maxLength: 60 }), (parts) => {
        const parsed = parseXMatrix(`X-Matrix ${parts.join('')}`);
        if (parsed !== undefined) assert.ok(parsed.keyId.includes(':'));
      }),
    );
    assert.equal(parseXMatrix(`X-Matrix ${'"\\'.repeat(2000)}`), undefined);
    assert.equal(parseXMatrix(`X-Matrix ${' ,'.repeat(2000)}`), undefined);
  });

  test('what we sign we read again, whatever the names are', () => {
    const key = createSigningKey(Buffer.alloc(32, 7), 'a_1');
    const name = fc.constantFrom('a.example', 'a.example:8448', '[::1]', '127.0.0.1:1', 'UPPER.example');
    fc.assert(
      fc.property(name, name, fc.string(), (origin, destination, uri) => {
        const header = signRequest({ method: 'GET', uri, origin, destination }, key);
        assert.ok(isXMatrix(header));
        const { signature, ...rest } = parseXMatrix(header) ?? assert.fail(header);
        assert.deepEqual(rest, { origin, destination, keyId: 'ed25519:a_1' });
        assert.equal(decodeBase64(signature)?.length, 64);
      }),
    );
  });

  test('the signature is that of the JSON object that the spec describes', () => {
    const key = createSigningKey(Buffer.alloc(32, 9), '1');
    const content = { pdus: [{ b: 1, a: 'ü' }], origin: 'a.example' };
    const request = { method: 'PUT', uri: '/_matrix/x?y=%20', origin: 'a.example', destination: 'b.example' };
    const text = '{"origin":"a.example","pdus":[{"a":"ü","b":1}]}';
    const signature = key.sign(requestSigningText({ ...request, content: text }));
    const signed = { ...request, content, signatures: { 'a.example': { 'ed25519:1': signature } } };
    assert.ok(verifyJson(signed, { serverName: 'a.example', keyId: 'ed25519:1', publicKey: key.publicKey }));
    const { content: _content, ...withoutContent } = signed;
    const bare = {
      ...withoutContent,
      signatures: { 'a.example': { 'ed25519:1': key.sign(requestSigningText(request)) } },
    };
    assert.ok(verifyJson(bare, { serverName: 'a.example', keyId: 'ed25519:1', publicKey: key.publicKey }));
  });
});
