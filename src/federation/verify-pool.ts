/**
 * Checks many Ed25519 signatures: a few at once on this thread, since handing them over costs as much; more of them on
 * libuv's worker threads, few at a time, so that password hashing and files find a free one. What a signature covers is
 * encoded only when its turn comes, so a big batch neither holds the event loop nor all its texts in memory.
 */
import { type KeyObject, verify } from 'node:crypto';
import { promisify } from 'node:util';
import { createJointQuestions } from '../lib/joint-questions.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import { Lru } from '../lib/lru.ts';
import { decodeBase64, toPublicKey } from '../protocol/signing.ts';

export interface SignatureCheck {
  /** What the signature covers; may throw where that has no canonical form. */
  readonly text: () => string;
  /** Base64. */
  readonly signature: string;
  readonly publicKey: string;
}

export interface VerifyPool {
  /** Whether each signature is valid. */
  verifyAll(checks: readonly SignatureCheck[]): Promise<readonly boolean[]>;
}

/** Some 100 µs each: below this a batch is over before other work would notice. */
const MAX_INLINE = 16;
/** What is asked for at the same time by so many counts as one batch. */
const MAX_LISTS = 50;
/** Of libuv's four threads. */
const THREADS = 2;
/** Keys of as many servers as a large room has, at some 300 bytes each. */
const MAX_CACHED_KEYS = 5_000;
const SIGNATURE_BYTES = 64;

const verifyOnThread = promisify(verify);

export function createVerifyPool(): VerifyPool {
  const keys = new Lru<string, KeyObject>({ maxCost: MAX_CACHED_KEYS });
  const prepare = ({ text, signature, publicKey }: SignatureCheck): Prepared | undefined => {
    const key = keys.get(publicKey) ?? toPublicKey(publicKey);
    const bytes = decodeBase64(signature);
    if (key === undefined || bytes?.length !== SIGNATURE_BYTES) return undefined;
    keys.set(publicKey, key);
    try {
      return { data: Buffer.from(text()), key, signature: bytes };
    } catch {
      // What has no canonical form has no valid signature either.
      return undefined;
    }
  };
  async function verifyTogether(checks: readonly SignatureCheck[]): Promise<readonly boolean[]> {
    const verdicts = checks.map(() => false);
    if (checks.length <= MAX_INLINE) return checks.map((check) => verifyNow(prepare(check)));
    await forEachLimited(checks.entries(), THREADS, async ([index, check]) => {
      const prepared = prepare(check);
      if (prepared === undefined) return;
      verdicts[index] = await verifyOnThread(null, prepared.data, prepared.key, prepared.signature);
    });
    return verdicts;
  }

  const verifyFew = createJointQuestions<readonly SignatureCheck[], readonly boolean[]>(
    async (lists) => {
      const verdicts = await verifyTogether(lists.flat());
      let at = 0;
      return new Map(
        lists.map((list) => {
          at += list.length;
          return [list, verdicts.slice(at - list.length, at)];
        }),
      );
    },
    { maxTogether: MAX_LISTS },
  );
  return {
    verifyAll(checks) {
      if (checks.length === 0) return Promise.resolve([]);
      // The few events of one room come together with those of the other rooms of their transaction.
      return checks.length <= MAX_INLINE ? verifyFew(checks) : verifyTogether(checks);
    },
  };
}

interface Prepared {
  readonly data: Buffer;
  readonly key: KeyObject;
  readonly signature: Buffer;
}

function verifyNow(prepared: Prepared | undefined): boolean {
  return prepared !== undefined && verify(null, prepared.data, prepared.key, prepared.signature);
}
