/**
 * The keys that a room's state is signed with, gathered before its events are looked at: asked for all together and for a
 * bounded time, since of a large room's servers many are dead, and each that is waited for would be waited for in turn.
 */
import type { Breathe } from '../lib/breather.ts';
import { parseUserId, type ServerName, serverNameOf } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { RoomState } from './join-answer.ts';
import type { WantedByServer } from './key-fetcher.ts';
import type { Keyring } from './keyring.ts';

/** More than the largest rooms have. */
const MAX_SERVERS = 20_000;
/** A server signs with one key at a time, and with few in all its years. */
const MAX_KEYS_PER_SERVER = 8;

interface Wanted {
  readonly keyIds: Set<string>;
  validAt: number | undefined;
}

/** By server the keys that its users' events name, and the newest of these. What is no event is passed over. */
export async function findSigners(
  events: Iterable<JsonValue>,
  { version, breathe }: { readonly version: RoomVersion; readonly breathe: Breathe },
): Promise<WantedByServer> {
  const wanted = new Map<ServerName, Wanted>();
  for (const event of events) {
    const pause = breathe();
    if (pause !== undefined) await pause;
    const server = senderOf(event);
    if (server === undefined || !isJsonObject(event)) continue;
    const keys = wanted.get(server) ?? { keyIds: new Set<string>(), validAt: undefined };
    if (!wanted.has(server) && wanted.size >= MAX_SERVERS) continue;
    wanted.set(server, keys);
    for (const keyId of keyIdsIn(event['signatures'], server)) {
      if (keys.keyIds.size < MAX_KEYS_PER_SERVER) keys.keyIds.add(keyId);
    }
    const madeAt = event['origin_server_ts'];
    if (version.enforcesKeyValidity && typeof madeAt === 'number') keys.validAt = Math.max(keys.validAt ?? 0, madeAt);
  }
  return new Map([...wanted].map(([name, { keyIds, validAt }]) => [name, { keyIds: [...keyIds], validAt }]));
}

/** For the keys of all servers in a room. */
const KEY_BUDGET_MS = 15_000;

/** Of dead servers nobody has the keys; whatever they signed is left out, and must not make anybody wait. */
export async function prepareKeys(
  keyring: Pick<Keyring, 'prepare'>,
  { state, authChain }: RoomState,
  reading: Parameters<typeof findSigners>[1],
): Promise<void> {
  const events = function* (): Generator<JsonValue> {
    yield* authChain;
    yield* state;
  };
  await keyring.prepare(await findSigners(events(), reading), KEY_BUDGET_MS);
}

function senderOf(event: JsonValue): ServerName | undefined {
  const sender = isJsonObject(event) ? event['sender'] : undefined;
  const userId = typeof sender === 'string' ? parseUserId(sender) : undefined;
  return userId === undefined ? undefined : serverNameOf(userId);
}

function keyIdsIn(signatures: JsonValue | undefined, server: ServerName): readonly string[] {
  const own = isJsonObject(signatures) && Object.hasOwn(signatures, server) ? signatures[server] : undefined;
  return isJsonObject(own) ? Object.keys(own).filter((keyId) => keyId.startsWith('ed25519:')) : [];
}
