/**
 * Which passwords are accepted: long enough, and hard enough to guess by zxcvbn's estimate.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#password-management
 */
import { ZxcvbnFactory } from '@zxcvbn-ts/core';
import { adjacencyGraphs, dictionary } from '@zxcvbn-ts/language-common';
import { MatrixError } from '../protocol/errors.ts';

export interface PasswordRequirements {
  /** In characters. */
  readonly minLength: number;
  /** In bits; 0 asks for none. */
  readonly minEntropy: number;
}

/** Throws unless `password` meets the requirements; `related` are words that it must not be built from. */
export type PasswordCheck = (password: string, related: readonly string[]) => void;

/** Hashing needs a bound; nobody types more. */
const MAX_PASSWORD_BYTES = 1024;
/** zxcvbn's time grows with the square of the length; a password that long is judged by its beginning. */
const MAX_JUDGED_LENGTH = 64;

/** The requirements are read at each check, since they can change while the server runs. */
export function createPasswordCheck(requirements: PasswordRequirements): PasswordCheck {
  // Reading the dictionaries takes a while and some memory: only where somebody registers.
  let estimator: ZxcvbnFactory | undefined;
  const estimate = (password: string, related: readonly string[]): number => {
    estimator ??= new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs });
    const { sequence } = estimator.check(password.slice(0, MAX_JUDGED_LENGTH), [...related]);
    return sequence.reduce((bits, match) => bits + estimateMatch(match), 0);
  };
  return (password, related) => {
    const { minLength, minEntropy } = requirements;
    if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) throw weak(`at most ${MAX_PASSWORD_BYTES} bytes`);
    if ([...password].length < Math.max(1, minLength)) throw weak(`at least ${minLength} characters`);
    if (minEntropy > 0 && estimate(password, related) < minEntropy) {
      throw weak('more unpredictable characters or words');
    }
  };
}

/** Of zxcvbn's matches only those that are no word or pattern are counted anew: ten guesses a character is its floor. */
function estimateMatch({ pattern, token, guessesLog10 }: Match): number {
  if (pattern !== 'bruteforce') return guessesLog10 * Math.log2(10);
  const alphabet = ALPHABETS.reduce((size, { has, count }) => (has.test(token) ? size + count : size), 0);
  return [...token].length * Math.log2(alphabet);
}

type Match = ReturnType<ZxcvbnFactory['check']>['sequence'][number];

/** What somebody who guesses has to try once a character of the kind occurs. */
const ALPHABETS: readonly { readonly has: RegExp; readonly count: number }[] = [
  { has: /[a-z]/, count: 26 },
  { has: /[A-Z]/, count: 26 },
  { has: /[0-9]/, count: 10 },
  { has: /[^a-zA-Z0-9]/, count: 32 },
];

function weak(wanted: string): MatrixError {
  return new MatrixError('M_WEAK_PASSWORD', `The password needs ${wanted}`);
}
