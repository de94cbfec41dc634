/**
 * What a server that is in a room says about the join, knock or leave to make. Only what cannot be known from here is taken
 * from it: the room's version, what the event follows and rests on, and who vouches for a join. The event itself is made
 * here, from these parts; whatever else the template holds is never signed.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
 */
import { newEventId } from '../engine/build-pdu.ts';
import type { Random } from '../lib/random.ts';
import { type EventId, parseUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue, Pdu } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import { getRoomVersion, type RoomVersion } from '../protocol/room-version.ts';
import { hashAndSignEvent } from '../protocol/sign-event.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { isFinal } from './federation-error.ts';

export interface MemberWanted {
  readonly roomId: RoomId;
  readonly userId: UserId;
  readonly membership: 'join' | 'knock' | 'leave';
  /** The server that gave the template. */
  readonly server: ServerName;
}

export interface MemberTemplate {
  readonly version: RoomVersion;
  readonly prevEvents: readonly JsonValue[];
  readonly authEvents: readonly JsonValue[];
  readonly depth: number;
  /** The user who vouches for the join in a restricted room. */
  readonly authoriser: UserId | undefined;
}

/** Room versions before there was the field. */
const OLDEST_VERSION = '1';

/** Throws a `FederationError` for a template that is not of this very event. */
export function readTemplate(answer: JsonObject, wanted: MemberWanted): MemberTemplate {
  const { event, room_version: named = OLDEST_VERSION } = answer;
  const version = typeof named === 'string' ? getRoomVersion(named) : undefined;
  if (version === undefined) throw malformed('the room has a version that was not offered');
  if (!isJsonObject(event) || !isJsonObject(event['content'])) throw malformed('the template is no event');
  const { content, prev_events, auth_events, depth } = event;
  if (event['room_id'] !== wanted.roomId) throw malformed('the template is of another room');
  if (event['type'] !== 'm.room.member' || content['membership'] !== wanted.membership) {
    throw malformed(`the template is no ${wanted.membership}`);
  }
  if (event['sender'] !== wanted.userId || event['state_key'] !== wanted.userId) {
    throw malformed('the template is of another user');
  }
  if (!isJsonArray(prev_events) || prev_events.length === 0 || !isJsonArray(auth_events)) {
    throw malformed('the template does not say what the event follows');
  }
  if (typeof depth !== 'number') throw malformed('the template has no depth');
  const authoriser = wanted.membership === 'join' ? readAuthoriser(content, version, wanted.server) : undefined;
  return { version, prevEvents: prev_events, authEvents: auth_events, depth, authoriser };
}

function readAuthoriser(content: JsonObject, version: RoomVersion, server: ServerName): UserId | undefined {
  const named = content['join_authorised_via_users_server'];
  if (named === undefined || !version.restricted) return undefined;
  const authoriser = typeof named === 'string' ? parseUserId(named) : undefined;
  if (authoriser === undefined || serverNameOf(authoriser) !== server) {
    throw malformed('the join would be authorised by nobody of that server');
  }
  return authoriser;
}

export interface MemberSigner {
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly random: Random;
  /** Unix milliseconds. */
  readonly now: number;
}

/** Our user's event, made from the parts of the template, each of which the format check looks at. */
export function buildMember(
  template: MemberTemplate,
  { roomId, userId, membership, content }: MemberWanted & { readonly content: JsonObject },
  signer: MemberSigner,
): { readonly pdu: Pdu; readonly eventId: EventId } {
  const { version, authoriser } = template;
  const body = {
    auth_events: template.authEvents,
    content: {
      ...content,
      membership,
      ...(authoriser !== undefined && { join_authorised_via_users_server: authoriser }),
    },
    depth: template.depth,
    ...(version.eventIds === 'server' && { event_id: newEventId(signer) }),
    origin: signer.serverName,
    origin_server_ts: signer.now,
    prev_events: template.prevEvents,
    room_id: roomId,
    sender: userId,
    state_key: userId,
    type: 'm.room.member',
  };
  // With stand-ins for what signing adds, so that nothing is signed that is not an event.
  const format = checkPduFormat({ ...body, hashes: { sha256: '' }, signatures: {} }, version);
  if (!format.valid) throw malformed(`no event can be made from the template: ${format.reason}`);
  return hashAndSignEvent(body, version, { serverName: signer.serverName, key: signer.signingKey });
}

function malformed(reason: string): Error {
  return isFinal('malformed', reason);
}
