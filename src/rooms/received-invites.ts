/**
 * Invites that other servers send to users of ours. What they want is our signature, so an invite is judged part by part
 * and made anew from its parts before it gets one: whatever else a server sends here is never signed.
 *
 * Invariants: only an invite of a user of ours by a user of the very server that asks is signed; what is signed is stored
 * first, as part of the room where we are in it, and outside of it otherwise.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */
import { createLocalMembers } from '../engine/local-members.ts';
import type { PduVerifier } from '../engine/ports.ts';
import type { Receiver } from '../engine/receive-pdu.ts';
import { createRoomAcls } from '../engine/room-acls.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Keyring } from '../federation/keyring.ts';
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import { createEvent } from '../protocol/event.ts';
import { hasValidContentHash } from '../protocol/hashes.ts';
import {
  type EventId,
  localpartOf,
  parseUserId,
  type RoomId,
  type ServerName,
  serverNameOf,
  type UserId,
} from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';
import type { Event, JsonValue, Pdu } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { countersignEvent } from '../protocol/sign-event.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import { loadAccountByLocalpart } from '../storage/accounts.ts';
import { isBlockedRoom } from '../storage/blocked-rooms.ts';
import type { Database } from '../storage/database.ts';
import { countInvitesBy, loadOutside, outsideStream } from '../storage/outside-memberships.ts';
import type { Committer, Fact } from '../streams/committer.ts';
import { requireWilling } from './invite-permissions.ts';
import { readInviteState } from './invite-state.ts';
import { takeIn } from './take-in.ts';

export interface ReceivedInvitesOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly committer: Pick<Committer, 'commit'>;
  readonly receiver: Receiver;
  readonly keyring: Pick<Keyring, 'verifyObject'>;
  readonly verifier: PduVerifier;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

export interface InviteRequest {
  /** As the request's signature proved. */
  readonly origin: ServerName;
  readonly roomId: RoomId;
  readonly eventId: EventId;
  readonly version: RoomVersion;
  readonly event: JsonValue;
  readonly inviteState: JsonValue | undefined;
  readonly oddNumbers: OddNumbers;
}

export interface ReceivedInvites {
  /** The invite with our signature; a `MatrixError` where it gets none. */
  receive(request: InviteRequest): Promise<Pdu>;
}

/** Unanswered, from the users of one server to one user: more than anybody looks through. */
const MAX_INVITES_BY_SERVER = 200;

interface Invite {
  readonly event: Event;
  readonly invitee: UserId;
  readonly version: RoomVersion;
}

export function createReceivedInvites(options: ReceivedInvitesOptions): ReceivedInvites {
  const { engine, serverName, signingKey, receiving } = options;
  const isInhabited = createLocalMembers(serverName);
  const isAllowed = createRoomAcls();

  async function enter(request: InviteRequest, invite: Invite, strippedState: string): Promise<'inside' | 'outside'> {
    const { roomId, origin } = request;
    const snapshot = await engine.loadSnapshot(roomId);
    if (snapshot !== undefined && isInhabited(snapshot)) {
      if (isAllowed(snapshot, origin)) return 'inside';
      throw new MatrixError('M_FORBIDDEN', 'The room does not let your server take part');
    }
    await storeOutside(options, { invite, via: origin, strippedState });
    return 'outside';
  }

  return {
    async receive(request) {
      const invite = readInvite(request, serverName);
      await requireSigned(options.keyring, request, invite);
      await requireInvitable(options.database, invite);
      const strippedState = await readInviteState(options.verifier, invite.event, request);
      const pdu = countersignEvent(invite.event.pdu, invite.version, { serverName, key: signingKey });
      const signed = { ...invite, event: { ...invite.event, pdu } };
      const place = await receiving.run(request.roomId, () => enter(request, signed, strippedState));
      // The room's own rules have the say there; its server sends the invite to the others.
      if (place === 'inside') await takeIn(options, { ...request, pdu, isOutgoing: false });
      return pdu;
    },
  };
}

/** All that can be told from the invite alone; the event is made anew from its parts. */
function readInvite(request: InviteRequest, serverName: ServerName): Invite {
  const { version, origin } = request;
  const format = checkPduFormat(request.event, version, request.oddNumbers);
  if (!format.valid || format.oversize !== undefined) {
    throw invalid(format.valid ? 'it is too large' : format.reason);
  }
  const event = createEvent(rebuild(format.pdu, origin), version);
  if (event.roomId !== request.roomId) throw invalid('it belongs to another room');
  if (event.eventId !== request.eventId) throw invalid('it has another event id');
  if (event.type !== 'm.room.member' || event.content['membership'] !== 'invite') throw invalid('it invites nobody');
  const invitee = parseUserId(event.stateKey ?? '');
  if (invitee === undefined || serverNameOf(invitee) !== serverName) throw invalid('it invites no user of this server');
  if (parseUserId(event.sender) === undefined || serverNameOf(event.sender) !== origin || origin === serverName) {
    throw invalid('its sender is no user of your server');
  }
  return { event, invitee, version };
}

/** From the parts that an invite has. A hash over more than these shows here, and so does a change of them. */
function rebuild(pdu: Pdu, origin: ServerName): Pdu {
  const own = Object.hasOwn(pdu.signatures, origin) ? pdu.signatures[origin] : undefined;
  if (own === undefined) throw invalid('your server has not signed it');
  const { event_id, room_id, state_key } = pdu;
  const rebuilt = {
    auth_events: pdu.auth_events,
    content: pdu.content,
    depth: pdu.depth,
    ...(event_id !== undefined && { event_id }),
    hashes: { sha256: pdu.hashes.sha256 },
    // Fields of old, which some servers still write and hash.
    ...(pdu['origin'] === origin && { origin }),
    origin_server_ts: pdu.origin_server_ts,
    prev_events: pdu.prev_events,
    ...(isEmptyList(pdu['prev_state']) && { prev_state: [] }),
    ...(room_id !== undefined && { room_id }),
    sender: pdu.sender,
    signatures: { [origin]: own },
    ...(state_key !== undefined && { state_key }),
    type: pdu.type,
  };
  if (!hasValidContentHash(rebuilt)) throw invalid('its content is not what was hashed');
  return rebuilt;
}

function isEmptyList(value: JsonValue | undefined): boolean {
  return isJsonArray(value) && value.length === 0;
}

/** Also where the invite is one that others need not find signed by its sender's server. */
async function requireSigned(
  keyring: ReceivedInvitesOptions['keyring'],
  { origin }: InviteRequest,
  { event, version }: Invite,
): Promise<void> {
  const validAt = version.enforcesKeyValidity ? event.originServerTs : undefined;
  const verdict = await keyring.verifyObject(redactPdu(event.pdu, version), origin, validAt);
  if (verdict !== 'valid') throw invalid('the signature of your server is not valid');
}

async function requireInvitable(database: Database, { event, invitee }: Invite): Promise<void> {
  const account = await loadAccountByLocalpart(database, localpartOf(invitee));
  if (account === undefined || account.isDeactivated) {
    throw new MatrixError('M_FORBIDDEN', 'There is no such user on this server');
  }
  await requireWilling(database, [invitee], event.sender);
  if (await isBlockedRoom(database, event.roomId)) {
    throw new MatrixError('M_FORBIDDEN', 'This server takes no part in the room');
  }
}

interface Outside {
  readonly invite: Invite;
  readonly via: ServerName;
  readonly strippedState: string;
}

async function storeOutside(
  { database, committer }: ReceivedInvitesOptions,
  { invite, via, strippedState }: Outside,
): Promise<void> {
  const { event, invitee: userId, version } = invite;
  const { roomId, eventId, sender } = event;
  const known = await loadOutside(database, { userId, roomId });
  const isAnswered = known?.membership !== 'invite';
  // The server asks again: its user is told once.
  if (!isAnswered && known.eventId === eventId) return;
  if (isAnswered && (await countInvitesBy(database, userId, via)) >= MAX_INVITES_BY_SERVER) {
    throw new MatrixError('M_FORBIDDEN', 'The user has not answered very many invites of your server');
  }
  const row = {
    userId,
    roomId,
    membership: 'invite',
    version,
    sender,
    via,
    eventId,
    pduText: encodeCanonicalJson(event.pdu),
    strippedState,
  } as const;
  await committer.commit({ facts: [{ table: outsideStream, row } as Fact] });
}

function invalid(reason: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', `This is not an invite that this server signs: ${reason}`);
}
