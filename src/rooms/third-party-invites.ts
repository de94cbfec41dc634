/**
 * Invites by address that found their user: an identity server has signed which user an address belongs to. The server of
 * whoever invited makes the invite of it; the user's server asks for that, once it has heard from the identity server.
 *
 * Invariants: we make invites only in the name of users of ours, and only what the room's rules allow by the signature of
 * the identity server that the room names; of what was sent, only the signed parts go into the event.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { type FederationClient, federationPath } from '../federation/client.ts';
import { FederationError } from '../federation/federation-error.ts';
import type { OpenLocation } from '../federation/location-client.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Logger } from '../lib/logger.ts';
import { MatrixError } from '../protocol/errors.ts';
import { localpartOf, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { loadAccountByLocalpart } from '../storage/accounts.ts';
import type { Database } from '../storage/database.ts';
import type { InviteElsewhere } from './invite-elsewhere.ts';
import type { LoadResidentRoom } from './resident-room.ts';
import { createKeyValidity, type RequireValidKey } from './third-party-keys.ts';

export interface ThirdPartyInvitesOptions {
  readonly engine: Pick<RoomEngine, 'send' | 'loadSnapshot'>;
  readonly database: Database;
  readonly client: Pick<FederationClient, 'fetchJson'>;
  readonly loadResidentRoom: LoadResidentRoom;
  readonly inviteElsewhere: Pick<InviteElsewhere, 'invite'>;
  readonly serverName: ServerName;
  readonly logger: Logger;
  readonly openLocation: OpenLocation;
}

/** An invite by address, and whose address it is. */
export interface ThirdPartyInvite {
  readonly roomId: RoomId;
  /** Who invited. */
  readonly sender: UserId;
  readonly invitee: UserId;
  /** What the identity server signed. */
  readonly signed: JsonValue | undefined;
  readonly displayName: string | undefined;
}

export interface ThirdPartyInvites {
  /** Makes the invite, for the server of the user. */
  exchange(origin: ServerName, invite: ThirdPartyInvite): Promise<void>;
  /** An identity server says that a user of ours has an address, and what that is invited to. */
  onBind(userId: UserId, invites: readonly ThirdPartyInvite[]): Promise<void>;
}

const ASKED_AT_ONCE = 4;
const DEADLINE_MS = 15_000;

export function createThirdPartyInvites(options: ThirdPartyInvitesOptions): ThirdPartyInvites {
  const { database, serverName, logger } = options;
  const requireValidKey = createKeyValidity(options.openLocation);
  return {
    async exchange(origin, invite) {
      if (serverNameOf(invite.invitee) !== origin)
        throw new MatrixError('M_FORBIDDEN', 'The user is not of your server');
      if (serverNameOf(invite.sender) !== serverName) {
        throw new MatrixError('M_FORBIDDEN', 'Whoever invited is not of this server');
      }
      const snapshot = await options.loadResidentRoom(invite.roomId, origin);
      const template = toTemplate(snapshot, invite);
      await requireValid(requireValidKey, snapshot, invite);
      await options.inviteElsewhere.invite(snapshot, template);
    },
    async onBind(userId, invites) {
      const account =
        serverNameOf(userId) === serverName && (await loadAccountByLocalpart(database, localpartOf(userId)));
      if (!account || account.isDeactivated)
        throw new MatrixError('M_NOT_FOUND', 'There is no such user on this server');
      const own = invites.filter(({ invitee }) => invitee === userId);
      await forEachLimited(own, ASKED_AT_ONCE, async (invite) => {
        try {
          await (serverNameOf(invite.sender) === serverName
            ? inviteHere({ ...options, requireValidKey }, invite)
            : ask(options, invite));
        } catch (cause) {
          if (!(cause instanceof MatrixError || cause instanceof FederationError)) throw cause;
          // One that is not right says nothing of the others.
          logger.info({ cause, roomId: invite.roomId, userId }, 'an invite by address came to nothing');
        }
      });
    },
  };
}

async function requireValid(
  requireValidKey: RequireValidKey,
  snapshot: RoomSnapshot,
  { signed }: ThirdPartyInvite,
): Promise<void> {
  const parts = readSigned(signed);
  const content = snapshot.get('m.room.third_party_invite', String(parts['token']))?.content ?? {};
  await requireValidKey(parts, content);
}

async function inviteHere(
  { engine, requireValidKey }: ThirdPartyInvitesOptions & { readonly requireValidKey: RequireValidKey },
  invite: ThirdPartyInvite,
): Promise<void> {
  const now = await engine.loadSnapshot(invite.roomId);
  if (now !== undefined) await requireValid(requireValidKey, now, invite);
  await engine.send({
    roomId: invite.roomId,
    decide: (snapshot) => (snapshot.membershipOf(invite.invitee) === 'join' ? [] : [toTemplate(snapshot, invite)]),
  });
}

/** The inviter's server makes the invite, and then sends it to us like any other. */
async function ask({ client }: ThirdPartyInvitesOptions, invite: ThirdPartyInvite): Promise<void> {
  const { roomId, sender, invitee, signed, displayName } = invite;
  await client.fetchJson({
    destination: serverNameOf(sender),
    method: 'PUT',
    path: federationPath`/_matrix/federation/v1/exchange_third_party_invite/${roomId}`,
    body: {
      type: 'm.room.member',
      room_id: roomId,
      sender,
      state_key: invitee,
      content: {
        membership: 'invite',
        third_party_invite: { display_name: displayName ?? invitee, signed: readSigned(signed) },
      },
    },
    deadlineMs: DEADLINE_MS,
  });
}

function toTemplate(snapshot: RoomSnapshot, { sender, invitee, signed }: ThirdPartyInvite) {
  const parts = readSigned(signed);
  const { token } = parts;
  const invite = typeof token === 'string' ? snapshot.get('m.room.third_party_invite', token) : undefined;
  if (invite === undefined) throw new MatrixError('M_FORBIDDEN', 'The room knows no such invite');
  // The name is the one that the room has for it.
  const name = invite.content['display_name'];
  const content = {
    membership: 'invite',
    third_party_invite: { ...(typeof name === 'string' && { display_name: name }), signed: parts },
  };
  return { type: 'm.room.member', sender, stateKey: invitee, content };
}

/** Identity servers sign a user, a token and mostly the inviter: nothing else gets into an event of ours. */
function readSigned(value: JsonValue | undefined): JsonObject {
  if (!isJsonObject(value)) throw new MatrixError('M_INVALID_PARAM', 'signed is missing');
  const { mxid, token, sender, signatures } = value;
  const isRight = typeof mxid === 'string' && typeof token === 'string' && isJsonObject(signatures);
  if (!isRight) throw new MatrixError('M_INVALID_PARAM', 'signed has not what an identity server signs');
  return { mxid, token, ...(typeof sender === 'string' && { sender }), signatures };
}
