/**
 * The policy servers of rooms: which one a room has, whether it recommends an event, and asking it for the signature that
 * says so. Asking is done outside the room's turn; inside it only signatures are looked at.
 *
 * A room has a policy server while its current state names one that has a joined member. This server is none: where a room
 * names it, nobody could ask it, and the room counts as having none.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#policy-servers
 */
import { forEachLimited } from '../lib/limited-concurrency.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { Event } from '../protocol/pdu.ts';
import { MAX_PDU_BYTES } from '../protocol/pdu-format.ts';
import {
  isSignedByPolicyServer,
  needsNoPolicySignature,
  type PolicyServer,
  readPolicyServer,
  withPolicySignature,
} from '../protocol/policy-server.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { createServerMembers } from './local-members.ts';
import type { ReceivedEvent } from './parse-received.ts';
import type { PolicySigner } from './ports.ts';
import type { RoomSnapshot } from './room-snapshot.ts';

export interface Policing {
  /** The room's policy server; undefined costs one look-up in memory. */
  serverOf(snapshot: RoomSnapshot): PolicyServer | undefined;
  /** Whether the policy server that the room has then lets the event in. */
  isRecommended(snapshot: RoomSnapshot, event: Event): boolean;
  /** An event of ours with the signature that it needs; the policy server's refusal is thrown for the client. */
  sign(event: Event, version: RoomVersion, policy: PolicyServer): Promise<Event>;
  /** Events of others, those that lack the signature with it where the policy server gives it. */
  complete(
    received: readonly ReceivedEvent[],
    version: RoomVersion,
    policy: PolicyServer,
  ): Promise<readonly ReceivedEvent[]>;
}

export interface PolicingOptions {
  readonly serverName: ServerName;
  readonly signer: PolicySigner;
}

/** Of one batch of received events: a transaction holds fifty, and their own servers should have asked. */
const ASKED_AT_ONCE = 8;

export function createPolicing({ serverName: ownName, signer }: PolicingOptions): Policing {
  const hasMember = createServerMembers();

  function serverOf(snapshot: RoomSnapshot): PolicyServer | undefined {
    const content = snapshot.get('m.room.policy', '')?.content;
    const policy = content === undefined ? undefined : readPolicyServer(content);
    if (policy === undefined || policy.serverName === ownName) return undefined;
    return hasMember(snapshot, policy.serverName) ? policy : undefined;
  }

  async function complete(one: ReceivedEvent, version: RoomVersion, policy: PolicyServer): Promise<ReceivedEvent> {
    const { event, signed } = one;
    if (needsNoPolicySignature(event) || isSignedByPolicyServer(signed, version, policy)) return one;
    const answer = await signer.fetchRecommendation({ policy, pdu: signed });
    if (answer === undefined) return one;
    const pdu = withPolicySignature(event.pdu, version, { policy, answer });
    return pdu === undefined ? one : withPdu(one, pdu);
  }

  return {
    serverOf,

    isRecommended(snapshot, event) {
      const policy = serverOf(snapshot);
      if (policy === undefined || needsNoPolicySignature(event)) return true;
      return isSignedByPolicyServer(event.pdu, snapshot.version, policy);
    },

    async sign(event, version, policy) {
      if (needsNoPolicySignature(event)) return event;
      const answer = await signer.fetchSignature({ policy, pdu: event.pdu });
      const pdu = withPolicySignature(event.pdu, version, { policy, answer });
      if (pdu === undefined) throw new MatrixError('M_FORBIDDEN', `${policy.serverName} has not signed the event`);
      if (Buffer.byteLength(encodeCanonicalJson(pdu)) > MAX_PDU_BYTES) {
        throw new MatrixError('M_TOO_LARGE', 'The event is too large with the signature of the policy server');
      }
      return { ...event, pdu };
    },

    async complete(received, version, policy) {
      const completed = [...received];
      await forEachLimited([...received.entries()], ASKED_AT_ONCE, async ([index, one]) => {
        completed[index] = await complete(one, version, policy);
      });
      return completed;
    },
  };
}

/** One that would become too large for others by it goes on as it came, and is judged by that. */
function withPdu(one: ReceivedEvent, pdu: ReceivedEvent['signed']): ReceivedEvent {
  const text = encodeCanonicalJson(pdu);
  if (Buffer.byteLength(text) > MAX_PDU_BYTES) return one;
  return { ...one, text, event: { ...one.event, pdu } };
}
