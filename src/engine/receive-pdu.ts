/**
 * Events of other servers, from the wire into their room: admitted (format, hashes, signatures), what they rest on fetched,
 * then one after another judged and placed in the room's turn. Each PDU is judged alone and told what became of it.
 *
 * Invariants: one call at a time works on a room; an event that is stored is never judged again; rooms without a local
 * user take in nothing; when this returns, all that it accepted is committed.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 */
import { createJointQuestions } from '../lib/joint-questions.ts';
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import type { Database } from '../storage/database.ts';
import { admitPdus, admitted } from './admit-pdus.ts';
import type { Outcome } from './arrival.ts';
import { createGapFiller, type GapFiller } from './fill-gaps.ts';
import { createLocalMembers } from './local-members.ts';
import type { ParsedPdu } from './parse-received.ts';
import { NOBODY_HERE, placeBatch } from './place-batch.ts';
import type { Policing } from './policing.ts';
import type { PduVerifier, RemoteRooms } from './ports.ts';
import { createBatch, type Loading, loadIntoBatches, type ReceivedBatch, sortTopologically } from './received-batch.ts';
import type { RoomWriting } from './room-writing.ts';
import type { StateResolver } from './state-resolver.ts';
import type { RoomEngine } from './types.ts';

/** As many as a transaction names; more would only wait for each other. */
const MAX_ROOMS_TOGETHER = 50;

export type ReceiveResult = Outcome & {
  /** Undefined where it was no event. */
  readonly eventId: EventId | undefined;
};

export interface ReceiveOptions {
  /** Numbers of the body that canonical JSON would write in another way. */
  readonly oddNumbers?: OddNumbers | undefined;
  /**
   * Whether this server sends the events to the others in the room: said of those that a handshake brought. Otherwise
   * the servers of their senders do.
   */
  readonly isOutgoing?: boolean | undefined;
}

export interface Receiver {
  /** What became of each PDU, in their order. Rejects only where we failed; then all may be tried again. */
  receive(
    roomId: RoomId,
    from: { readonly origin: ServerName; readonly pdus: readonly JsonValue[] },
    options?: ReceiveOptions,
  ): Promise<readonly ReceiveResult[]>;
}

export interface ReceiverOptions {
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshot'> & { readonly writing: RoomWriting };
  readonly resolver: StateResolver;
  readonly verifier: PduVerifier;
  readonly remote: RemoteRooms;
  readonly policing: Policing;
  readonly serverName: ServerName;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

export function createReceiver(options: ReceiverOptions): Receiver {
  const { database, engine, resolver, verifier, policing, serverName } = options;
  const isInhabited = createLocalMembers(serverName);
  const parts = { database, resolver, policing, writing: engine.writing };
  const load = createJointQuestions<Loading, Loading>(
    async (loadings) => {
      await loadIntoBatches(database, loadings);
      return new Map(loadings.map((loading) => [loading, loading]));
    },
    { maxTogether: MAX_ROOMS_TOGETHER },
  );
  const gaps: GapFiller = createGapFiller({ ...options, eventNids: engine.writing.eventNids });

  async function receiveAlone(
    roomId: RoomId,
    { origin, pdus }: Parameters<Receiver['receive']>[1],
    { oddNumbers, isOutgoing }: ReceiveOptions,
  ): Promise<readonly ReceiveResult[]> {
    const snapshot = await engine.loadSnapshot(roomId);
    if (snapshot === undefined || !isInhabited(snapshot))
      return pdus.map(() => ({ ...NOBODY_HERE, eventId: undefined }));
    const { version } = snapshot;
    const parsed = await admitPdus(verifier, { roomId, version }, pdus, oddNumbers);
    const received = admitted(parsed);
    const outgoing = isOutgoing === undefined ? [] : received.map(({ event }) => [event.eventId, isOutgoing] as const);
    const batch = createBatch({ roomId, version }, { outgoing: new Map(outgoing) });
    await load({ batch, received });
    const fresh = received.filter(({ event }) => isFresh(batch, event.eventId));
    const ancestors = await gaps.fill({ batch, snapshot, origin }, fresh);
    const policy = policing.serverOf(snapshot);
    const sorted = sortTopologically([...ancestors, ...fresh]);
    const completed = policy === undefined ? sorted : await policing.complete(sorted, version, policy);
    const outcomes = await placeBatch({ ...parts, isInhabited }, batch, { sorted: completed, policy });
    return toResults(parsed, outcomes);
  }

  return {
    receive: (roomId, from, receiving = {}) =>
      options.receiving.run(roomId, () => receiveAlone(roomId, from, receiving)),
  };
}

/** Not stored yet, or only as an outlier. */
function isFresh({ known }: ReceivedBatch, eventId: EventId): boolean {
  const stored = known.get(eventId);
  return stored === undefined || (stored.outlier && stored.position === null);
}

/** An event that came twice, or was here before, is known. */
function toResults(parsed: readonly ParsedPdu[], outcomes: ReadonlyMap<EventId, Outcome>): readonly ReceiveResult[] {
  const told = new Set<EventId>();
  return parsed.map((one) => {
    if ('fault' in one) return { outcome: 'dropped', reason: one.fault, eventId: undefined };
    const { eventId } = one.received.event;
    const outcome = told.has(eventId) ? undefined : outcomes.get(eventId);
    told.add(eventId);
    return { ...(outcome ?? { outcome: 'known' }), eventId };
  });
}
