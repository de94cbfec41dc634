/**
 * The only source of chance: cryptographically secure, handed in wherever it is needed.
 */
import { randomBytes, randomInt } from 'node:crypto';

export interface Random {
  bytes(length: number): Buffer;
  /** `length` characters of [A-Za-z0-9], about 5.95 bits each. */
  alphanumeric(length: number): string;
  /** Uniform integer in [0, bound). */
  integer(bound: number): number;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
/** Bytes at or above this are thrown away, so that every character is equally likely. */
const UNBIASED_LIMIT = 256 - (256 % ALPHABET.length);

export const secureRandom: Random = {
  bytes: (length) => randomBytes(length),
  integer: (bound) => randomInt(bound),
  alphanumeric(length) {
    let text = '';
    while (text.length < length) {
      for (const byte of randomBytes(length - text.length + 8)) {
        if (byte < UNBIASED_LIMIT && text.length < length) text += ALPHABET[byte % ALPHABET.length];
      }
    }
    return text;
  },
};
