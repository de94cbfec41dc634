/**
 * Sending into rooms that have a policy server: an event is made apart from the room, which goes on while the policy server
 * looks at it, and comes in with its signature by the way of received events, which knows what to do when the room has gone
 * on (docs/adr/0023-policy-servers.md). Rooms without one are sent to as ever; which it is, is decided in the turn.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#asking-for-a-policy-server-signature-on-an-event
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import { referenceHash } from '../protocol/hashes.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { needsNoPolicySignature } from '../protocol/policy-server.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { Database } from '../storage/database.ts';
import type { Placed } from './arrival.ts';
import { decideEvents } from './decide-events.ts';
import type { ReceivedEvent } from './parse-received.ts';
import { placeReceived } from './place-received.ts';
import type { Policing } from './policing.ts';
import { createBatch, loadIntoBatch } from './received-batch.ts';
import { loadChain } from './room-loader.ts';
import type { RoomSnapshot } from './room-snapshot.ts';
import type { RoomWriting } from './room-writing.ts';
import type { StateResolver } from './state-resolver.ts';
import type { EventTemplate, RoomEngine, SendRequest, SentEvent } from './types.ts';

export interface PolicedSendingOptions {
  readonly engine: RoomEngine & { readonly writing: RoomWriting };
  readonly database: Database;
  readonly resolver: StateResolver;
  readonly policing: Policing;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
}

/** How often a send begins anew because the room got or lost its policy server meanwhile. */
const MAX_WAYS = 4;

/** The engine, whose `send` asks the policy servers of rooms. */
export function createPolicedEngine(options: PolicedSendingOptions): RoomEngine {
  const { engine, policing } = options;
  return {
    ...engine,
    async send(request) {
      const snapshot = engine.getSnapshot(request.roomId);
      let isPoliced = snapshot !== undefined && policing.serverOf(snapshot) !== undefined;
      for (let way = 1; ; way++) {
        try {
          return await (isPoliced ? sendPoliced(options, request) : sendPlain(options, request));
        } catch (cause) {
          if (!(cause instanceof OtherWayError) || way >= MAX_WAYS) throw cause;
          isPoliced = !isPoliced;
        }
      }
    },
  };
}

/** The room has a policy server, or has none any more. */
class OtherWayError extends Error {}

/** The turn decides: what became policed by then is not sent. */
function sendPlain({ engine, policing }: PolicedSendingOptions, request: SendRequest): Promise<readonly SentEvent[]> {
  const decide = (head: RoomSnapshot): readonly EventTemplate[] => {
    const templates = request.decide(head);
    if (policing.serverOf(head) === undefined || templates.every(isExempt)) return templates;
    throw new OtherWayError('the policy server of the room has to be asked');
  };
  return engine.send({ ...request, decide });
}

function isExempt({ type, stateKey }: EventTemplate): boolean {
  return needsNoPolicySignature({ type, stateKey });
}

function sendPoliced(options: PolicedSendingOptions, request: SendRequest): Promise<readonly SentEvent[]> {
  const { engine, policing } = options;
  return engine.writing.once(request.roomId, request.transaction, async () => {
    const snapshot = await engine.loadSnapshot(request.roomId);
    const policy = snapshot === undefined ? undefined : policing.serverOf(snapshot);
    if (snapshot === undefined || policy === undefined) throw new OtherWayError('the room has no policy server');
    const templates = request.decide(snapshot);
    if (templates.length === 0) return [];
    if (templates.every(isExempt)) throw new OtherWayError('the policy server is not asked about its own event');
    const events = await build(options, snapshot, templates);
    const signed = await Promise.all(events.map((event) => policing.sign(event, snapshot.version, policy)));
    return place(options, request, { snapshot, signed });
  });
}

/** The events as they would follow the room as it is committed; nothing of the room changes. */
async function build(
  { engine, database, serverName, signingKey: key, random, clock }: PolicedSendingOptions,
  head: RoomSnapshot,
  templates: readonly EventTemplate[],
): Promise<readonly Event[]> {
  const { stateNid } = head.parts;
  const changesState = templates.some(({ stateKey }) => stateKey !== undefined);
  const chain = changesState && stateNid !== null ? await loadChain(database, stateNid) : undefined;
  const { eventNids, snapshotNids } = engine.writing;
  const by = { serverName, key, random, now: clock.now(), eventNids, snapshotNids };
  const decision = await decideEvents({ head, chain }, templates, {
    ...by,
    transaction: undefined,
    redacted: undefined,
  });
  return decision.events.map(({ row }) => row.stored.event);
}

interface Signed {
  readonly snapshot: RoomSnapshot;
  readonly signed: readonly Event[];
}

/** All in one turn, in their order; the first that the room no longer allows is the end. */
async function place(
  { engine, database, resolver, policing }: PolicedSendingOptions,
  { roomId, transaction }: SendRequest,
  { snapshot: { version }, signed }: Signed,
): Promise<readonly SentEvent[]> {
  const events = signed.map((event) => toReceived(event, version));
  const transactions = new Map(
    transaction === undefined ? [] : signed.map(({ eventId }) => [eventId, transaction] as const),
  );
  const batch = createBatch({ roomId, version }, { transactions });
  await loadIntoBatch(database, batch, events);
  const parts = { database, resolver, policing, writing: engine.writing };
  const last = await engine.writing.turn(roomId, async (turn) => {
    let placed: Placed | undefined;
    for (const received of events) {
      placed = await placeReceived(parts, { turn, batch, received });
      batch.committed = Promise.all([batch.committed, placed.committed]);
      // Heard below; until then it must not count as unhandled.
      batch.committed.catch(() => undefined);
      if (placed.result.outcome !== 'accepted') break;
    }
    return placed;
  });
  await batch.committed;
  requireAccepted(last);
  return signed.flatMap(({ eventId }) => {
    const known = batch.known.get(eventId);
    return known === undefined ? [] : [{ eventId, nid: known.nid }];
  });
}

function toReceived(event: Event, version: RoomVersion): ReceivedEvent {
  const { pdu } = event;
  return {
    event,
    signed: pdu,
    text: encodeCanonicalJson(pdu),
    referenceHash: version.eventIds === 'server' ? referenceHash(pdu, version) : undefined,
    oversize: undefined,
  };
}

/** While the policy server looked at it, the room may have changed its mind. */
function requireAccepted(placed: Placed | undefined): void {
  if (placed === undefined) throw new MatrixError('M_NOT_FOUND', 'The room is not known to this server');
  const { result } = placed;
  if (result.outcome === 'accepted') return;
  if ('rule' in result) throw new MatrixError('M_FORBIDDEN', result.reason);
  throw new Error(`an event of ours was not taken in: ${result.outcome}`);
}
