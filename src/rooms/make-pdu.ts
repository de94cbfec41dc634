/**
 * Makes a PDU from what an administrator gives: keys that are there stay as they are, those that an event needs and that
 * are missing are worked out from the room. Nothing is stored or sent, and no rule is checked.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#signing-events
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { selectAuthEvents } from '../protocol/auth-events.ts';
import { MatrixError } from '../protocol/errors.ts';
import { contentHash, eventIdOf } from '../protocol/hashes.ts';
import { parseRoomId, type ServerName } from '../protocol/ids.ts';
import type { JsonObject, JsonValue, Pdu } from '../protocol/pdu.ts';
import { redactPdu } from '../protocol/redaction.ts';
import { getRoomVersion, type RoomVersion } from '../protocol/room-version.ts';
import { type SigningKey, signJson } from '../protocol/signing.ts';

export interface PduMakerOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
}

/** The keys that nobody can work out. */
export type BasePdu = JsonObject & {
  readonly room_id: string;
  readonly sender: string;
  readonly content: JsonObject;
};

export interface PduRequest {
  /** Undefined asks the database. */
  readonly roomVersion: string | undefined;
  readonly pdu: BasePdu;
  readonly hashes: boolean;
  readonly signs: boolean;
}

export type MakePdu = (request: PduRequest) => Promise<JsonObject>;

/** As for the events that the server makes itself. */
const MAX_PREV_EVENTS = 20;
const EVENT_ID_LENGTH = 18;

export function createPduMaker(options: PduMakerOptions): MakePdu {
  return async ({ roomVersion, pdu, hashes, signs }) => {
    const roomId = parseRoomId(pdu.room_id);
    const snapshot = roomId === undefined ? undefined : await options.engine.loadSnapshot(roomId);
    const version = roomVersion === undefined ? snapshot?.version : getRoomVersion(roomVersion);
    if (version === undefined) throw notFound('The room version is not known');
    const body = complete(pdu, { version, snapshot, options });
    try {
      return finish(body, { version, hashes, signs: hashes && signs, options });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MatrixError('M_UNKNOWN', `The event could not be hashed or signed: ${reason}`, { cause });
    }
  };
}

interface Surroundings {
  readonly version: RoomVersion;
  readonly snapshot: RoomSnapshot | undefined;
  readonly options: PduMakerOptions;
}

function complete(pdu: BasePdu, { version, snapshot, options }: Surroundings): BasePdu {
  const refer = version.eventIds === 'server' ? toPair : toId;
  const known = (): RoomSnapshot => {
    if (snapshot === undefined)
      throw notFound('The room is not known, so auth_events, prev_events and depth are needed');
    return snapshot;
  };
  return {
    ...(pdu['auth_events'] === undefined && { auth_events: selectAuth(pdu, known(), version).map(refer) }),
    ...(pdu['depth'] === undefined && { depth: Math.min(known().parts.depth + 1, Number.MAX_SAFE_INTEGER) }),
    ...(version.eventIds === 'server' &&
      pdu['event_id'] === undefined && {
        event_id: `$${options.random.alphanumeric(EVENT_ID_LENGTH)}:${options.serverName}`,
      }),
    ...(pdu['origin_server_ts'] === undefined && { origin_server_ts: options.clock.now() }),
    ...(pdu['prev_events'] === undefined && {
      prev_events: known().parts.extremities.slice(-MAX_PREV_EVENTS).map(refer),
    }),
    ...pdu,
  };
}

interface Referred {
  readonly eventId: string;
  readonly referenceHash?: string;
}

function selectAuth(pdu: BasePdu, snapshot: RoomSnapshot, version: RoomVersion): readonly Referred[] {
  const { type, state_key: stateKey } = pdu;
  const input = {
    type: typeof type === 'string' ? type : '',
    stateKey: typeof stateKey === 'string' ? stateKey : undefined,
    sender: pdu.sender,
    content: pdu.content,
  };
  return selectAuthEvents(input, snapshot, version);
}

const toId = ({ eventId }: Referred): JsonValue => eventId;
const toPair = ({ eventId, referenceHash }: Referred): JsonValue => [
  eventId,
  referenceHash === undefined ? {} : { sha256: referenceHash },
];

interface Finishing {
  readonly version: RoomVersion;
  readonly hashes: boolean;
  readonly signs: boolean;
  readonly options: PduMakerOptions;
}

function finish(body: BasePdu, { version, hashes, signs, options }: Finishing): JsonObject {
  const hash = hashes && body['hashes'] === undefined ? { hashes: { sha256: contentHash(body) } } : {};
  const hashed: JsonObject = { ...body, ...hash };
  const isSigned = signs && body['signatures'] === undefined;
  const made: JsonObject = isSigned ? { ...hashed, signatures: sign(hashed, version, options) } : hashed;
  // Whatever is missing takes no part in the hash, so an incomplete PDU has an id too.
  const eventId = eventIdOf(made as Pdu, version);
  const unsigned = body['unsigned'];
  return { ...made, unsigned: { ...(isObject(unsigned) ? unsigned : {}), event_id: eventId } };
}

/** Our signature over what redaction leaves, with the hashes that the event has. */
function sign(hashed: JsonObject, version: RoomVersion, { serverName, signingKey }: PduMakerOptions): JsonValue {
  return signJson(redactPdu(hashed as Pdu, version), serverName, signingKey).signatures;
}

function notFound(message: string): MatrixError {
  return new MatrixError('M_NOT_FOUND', message);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
