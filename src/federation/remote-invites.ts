/**
 * Invites of ours to users of other servers: their server is shown the invite before anybody else, and signs it. Of what
 * comes back only the signature is taken, and it has to be one over the very event that was sent.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { Event, JsonObject, JsonValue, Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { signaturesBy } from '../protocol/signing.ts';
import { parseJson } from '../protocol/strict-json.ts';
import { type FederationClient, type FederationRequest, federationPath } from './client.ts';
import { FederationError, isFinal } from './federation-error.ts';
import type { Keyring } from './keyring.ts';

/** Its user waits, and so does whoever invites. */
const INVITE_DEADLINE_MS = 20_000;
/** The event of 64 KiB with what it was sent with, escaped. */
const MAX_ANSWER_BYTES = 1024 * 1024;
/** A server signs with one key, rarely with two. */
const MAX_SIGNATURES = 4;

export interface InviteToSign {
  /** The server of the user who is invited. */
  readonly server: ServerName;
  readonly version: RoomVersion;
  readonly event: Event;
  /** What the user is shown of the room. */
  readonly inviteState: readonly Pdu[];
}

export interface RemoteInvites {
  /** The invite with the signature of its user's server; a `MatrixError` for the client where it gets none. */
  fetchSigned(invite: InviteToSign): Promise<Pdu>;
}

export interface RemoteInvitesOptions {
  readonly client: Pick<FederationClient, 'fetchBytes'>;
  readonly keyring: Pick<Keyring, 'verifyObject'>;
  /** Aborted when this server stops: nobody is to wait for others then. */
  readonly stopping: AbortSignal;
}

export function createRemoteInvites(options: RemoteInvitesOptions): RemoteInvites {
  return {
    async fetchSigned(invite) {
      try {
        const { pdu } = invite.event;
        const signatures = readSignatures(await fetchAnswer(options, invite), invite.server);
        const signed = { ...pdu, signatures: { ...pdu.signatures, [invite.server]: signatures } };
        await requireValid(options.keyring, invite, signed);
        return signed;
      } catch (cause) {
        throw cause instanceof FederationError ? toClientError(cause, invite.server) : cause;
      }
    },
  };
}

async function fetchAnswer({ client, stopping }: RemoteInvitesOptions, invite: InviteToSign): Promise<JsonValue> {
  const { server: destination, version, event, inviteState } = invite;
  const path = federationPath`/invite/${event.roomId}/${event.eventId}`;
  const request: Omit<FederationRequest, 'path'> = {
    destination,
    method: 'PUT',
    deadlineMs: INVITE_DEADLINE_MS,
    maxBytes: MAX_ANSWER_BYTES,
    signal: stopping,
  };
  const body = { room_version: version.id, event: event.pdu, invite_room_state: inviteState };
  try {
    return parse(await client.fetchBytes({ ...request, path: `/_matrix/federation/v2${path}`, body }));
  } catch (cause) {
    // A server of old, which knows no rooms but those of the first two versions.
    const isOld = cause instanceof FederationError && (cause.status === 400 || cause.status === 404);
    if (!isOld || version.eventIds !== 'server') throw cause;
    const old = { ...event.pdu, unsigned: { invite_room_state: inviteState } };
    return parse(await client.fetchBytes({ ...request, path: `/_matrix/federation/v1${path}`, body: old }));
  }
}

function parse(bytes: Buffer): JsonValue {
  try {
    return parseJson(bytes);
  } catch (cause) {
    if (!(cause instanceof MatrixError)) throw cause;
    throw isFinal('malformed', 'the answer is no JSON', cause);
  }
}

/** Version 1 of the API answers `[200, {...}]`. */
function readSignatures(answer: JsonValue, server: ServerName): Readonly<Record<string, string>> {
  const body = isJsonArray(answer) ? answer[1] : answer;
  const event = isJsonObject(body) ? body['event'] : undefined;
  const signatures = isJsonObject(event) ? signaturesBy(event, server).slice(0, MAX_SIGNATURES) : [];
  if (signatures.length === 0) throw isFinal('malformed', 'the invite came back without a signature');
  return Object.fromEntries(signatures);
}

async function requireValid(
  keyring: RemoteInvitesOptions['keyring'],
  { server, version }: InviteToSign,
  signed: Pdu,
): Promise<void> {
  const validAt = version.enforcesKeyValidity ? signed.origin_server_ts : undefined;
  const verdict = await keyring.verifyObject(redactPdu(signed, version), server, validAt);
  if (verdict !== 'valid') throw isFinal('malformed', 'the signature that came back is not one over the invite');
}

/** https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite */
function toClientError(cause: FederationError, server: ServerName): MatrixError {
  const { errcode, status, roomVersion, reason } = cause;
  if (errcode === 'M_INCOMPATIBLE_ROOM_VERSION' || errcode === 'M_UNSUPPORTED_ROOM_VERSION') {
    const fields: JsonObject = roomVersion === undefined ? {} : { room_version: roomVersion };
    return new MatrixError('M_UNSUPPORTED_ROOM_VERSION', `${server} does not support the version of the room`, {
      fields,
      cause,
    });
  }
  if (errcode === 'M_INVITE_BLOCKED')
    return new MatrixError('M_INVITE_BLOCKED', 'The user takes no invites', { cause });
  if (reason === 'denied') return new MatrixError('M_FORBIDDEN', `This server does not talk with ${server}`, { cause });
  if (status === 403) return new MatrixError('M_FORBIDDEN', `${server} does not accept the invite`, { cause });
  return new MatrixError('M_UNKNOWN', `${server} could not be told of the invite`, { status: 502, cause });
}
