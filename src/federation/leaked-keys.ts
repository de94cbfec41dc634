/**
 * Signing keys whose secret half everybody knows. Whatever they sign proves nothing, so they count as no keys at all.
 */
import { encodeBase64 } from '../protocol/signing.ts';

const LEAKED: ReadonlySet<string> = new Set([
  // What the Helm charts of ESS Community made for everyone: CVE-2026-24044.
  'l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og',
  // The key of the examples in the specification's appendix on signing.
  'XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI',
]);

export function isLeakedKey(publicKey: Uint8Array): boolean {
  return LEAKED.has(encodeBase64(publicKey));
}
