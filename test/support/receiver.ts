/**
 * An engine that receives events of scripted remote servers, their signatures checked with the keys that it was given.
 */

import { createPolicing, type Policing } from '../../src/engine/policing.ts';
import type { PduVerifier, RemoteRooms } from '../../src/engine/ports.ts';
import { createReceiver, type Receiver } from '../../src/engine/receive-pdu.ts';
import { createResolutionRunner } from '../../src/engine/resolution-runner.ts';
import { createStateResolver } from '../../src/engine/state-resolver.ts';
import { KeyedQueue } from '../../src/lib/keyed-queue.ts';
import type { EventId, RoomId, ServerName } from '../../src/protocol/ids.ts';
import type { Event, JsonValue } from '../../src/protocol/pdu.ts';
import { type SigningKey, verifyEventSignature } from '../../src/protocol/signing.ts';
import type { TestEngine } from './engine.ts';

export type Keys = ReadonlyMap<string, SigningKey>;

/** Checks the signature of the sender's server. */
export function createVerifier(keys: Keys): PduVerifier {
  return {
    verify: async (pdus) =>
      pdus.map(({ pdu, version }) => {
        const serverName = pdu.sender.slice(pdu.sender.indexOf(':') + 1);
        const key = keys.get(serverName);
        if (key === undefined) return `no key of ${serverName}`;
        const { keyId, publicKey } = key;
        return verifyEventSignature(pdu, version, { serverName, keyId, publicKey }) ? undefined : 'invalid signature';
      }),
  };
}

/** As where no policy server ever answers. */
export function createNoPolicing(serverName: ServerName): Policing {
  const fail = () => Promise.reject(new Error('unreachable'));
  return createPolicing({ serverName, signer: { fetchSignature: fail, fetchRecommendation: async () => undefined } });
}

export const nobody: RemoteRooms = {
  fetchMissingEvents: async () => [],
  fetchStateIds: () => Promise.reject(new Error('unreachable')),
  fetchState: () => Promise.reject(new Error('unreachable')),
  fetchEvent: async () => undefined,
  fetchBackfill: async () => [],
};

export interface Receiving {
  readonly receiver: Receiver;
  /** What became of each event, in words. */
  receive(roomId: RoomId, origin: ServerName, ...events: readonly (Event | JsonValue)[]): Promise<readonly string[]>;
}

export function createReceiving(at: TestEngine, keys: Keys, remote: RemoteRooms = nobody): Receiving {
  const { engine, serverName } = at;
  const { database } = at.db;
  const { snapshotNids } = engine.writing;
  const resolver = createStateResolver({ database, snapshotNids, runner: createResolutionRunner() });
  const verifier = createVerifier(keys);
  const receiver = createReceiver({
    database,
    engine,
    resolver,
    verifier,
    remote,
    policing: createNoPolicing(serverName),
    serverName,
    receiving: new KeyedQueue(),
  });
  return {
    receiver,
    async receive(roomId, origin, ...events) {
      const pdus = events.map((event) => (isEvent(event) ? event.pdu : event));
      const results = await receiver.receive(roomId, { origin, pdus });
      return results.map((result) => ('rule' in result ? `${result.outcome} ${result.rule}` : result.outcome));
    },
  };
}

function isEvent(value: Event | JsonValue): value is Event {
  return typeof value === 'object' && value !== null && 'pdu' in value && 'prevEvents' in value;
}

/** The room's current state, by event ids: what converges. */
export async function currentState({ engine }: TestEngine, roomId: RoomId): Promise<ReadonlyMap<string, EventId>> {
  const snapshot = await engine.loadSnapshot(roomId);
  return new Map(
    [...(snapshot?.state() ?? [])]
      .map(({ type, stateKey, eventId }): [string, EventId] => [`${type} ${stateKey}`, eventId])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
