/**
 * Answers about the signing keys of any server, as a notary: with the documents that those servers signed, and our own
 * signature beside theirs. A server that can't be asked any more is answered for by what it said last.
 *
 * Invariant: whoever asks makes us ask others at most once a minute each, and a bounded number at once.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
 */

import type { Clock } from '../lib/clock.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { parseServerName } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { type KeyDocument, loadKeyDocuments } from '../storage/server-keys.ts';
import type { KeyFetcher } from './key-fetcher.ts';
import type { OwnKeys } from './own-keys.ts';

export interface Notary {
  /** The documents of those servers that have one, by name and when it should be valid; now where that is undefined. */
  answer(wanted: ReadonlyMap<string, number | undefined>): Promise<readonly JsonObject[]>;
}

export interface NotaryOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly ownKeys: OwnKeys;
  readonly fetcher: Pick<KeyFetcher, 'fetchFromOwners'>;
}

/** Servers of one question that are looked up at all, and those that are asked anew: as others ask at once. */
const MAX_SERVERS = 1_000;
const MAX_FETCHED = 40;

export function createNotary({ database, clock, ownKeys, fetcher }: NotaryOptions): Notary {
  return {
    async answer(wanted) {
      const names = [...wanted.keys()].map(parseServerName).filter((name) => name !== undefined);
      const others = names.filter((name) => name !== ownKeys.serverName).slice(0, MAX_SERVERS);
      const known = await loadKeyDocuments(database, others);
      const stale = others.filter((name) => !isFresh(known.get(name), wanted.get(name) ?? clock.now(), clock.now()));
      const asked = stale.slice(0, MAX_FETCHED);
      await fetcher.fetchFromOwners(asked);
      const fetched = asked.length === 0 ? known : await loadKeyDocuments(database, asked);
      const documents = others.flatMap((name) => fetched.get(name) ?? known.get(name) ?? []);
      return [
        ...(names.includes(ownKeys.serverName) ? [ownKeys.getDocument()] : []),
        ...documents.map(({ text }) => ownKeys.sign(readDocument(text))),
      ];
    },
  };
}

/** Valid when it has to be, and in the first half of its life: as the spec advises notaries. */
function isFresh(document: KeyDocument | undefined, validAt: number, now: number): boolean {
  if (document === undefined) return false;
  const { fetchedAt, validUntil } = document;
  return validUntil >= validAt && now < fetchedAt + (validUntil - fetchedAt) / 2;
}

function readDocument(text: string): JsonObject {
  // An object when it was stored.
  const document = parseJsonText(text) as JsonObject;
  return document;
}
