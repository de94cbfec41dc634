/**
 * Whose signatures an event needs: its sender's server; in room versions 1 and 2 also the server that made its id; and the
 * server of the user whose power lets somebody join a restricted room.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
 */
import { parseServerName, parseUserId, type ServerName, serverNameOf } from './ids.ts';
import { isJsonObject } from './json-value.ts';
import type { JsonValue, Pdu } from './pdu.ts';
import type { RoomVersion } from './room-version.ts';

/** Undefined where an id that names a signer is none: such an event is signed by nobody. */
export function requiredSigners(pdu: Pdu, version: RoomVersion): readonly ServerName[] | undefined {
  const signers: (ServerName | undefined)[] = [];
  // An invite from a third-party token is made by a server that cannot sign for its sender; the auth rules check the token.
  if (!isThirdPartyInvite(pdu)) signers.push(serverOf(pdu.sender));
  if (version.eventIds === 'server') {
    const id = pdu.event_id ?? '';
    signers.push(parseServerName(id.slice(id.indexOf(':') + 1)));
  }
  const authorisedVia = pdu.content['join_authorised_via_users_server'];
  if (version.restricted && isMember(pdu, 'join') && authorisedVia !== undefined) signers.push(serverOf(authorisedVia));
  const known = signers.filter((signer) => signer !== undefined);
  return known.length === signers.length ? [...new Set(known)] : undefined;
}

function isThirdPartyInvite(pdu: Pdu): boolean {
  return isMember(pdu, 'invite') && isJsonObject(pdu.content['third_party_invite']);
}

function isMember({ type, content }: Pdu, membership: string): boolean {
  return type === 'm.room.member' && content['membership'] === membership;
}

function serverOf(userId: JsonValue): ServerName | undefined {
  const parsed = typeof userId === 'string' ? parseUserId(userId) : undefined;
  return parsed === undefined ? undefined : serverNameOf(parsed);
}
