/**
 * Answers that hold the state of a room and its auth chain, too large perhaps to be parsed at once: that to a join, and the
 * state at an event. The events are cut out of the bytes and parsed when they are taken; what is no event is left out, alone.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
 */
import type { Breathe } from '../lib/breather.ts';
import { type SlicedObject, SliceError, sliceObject } from '../lib/json-slices.ts';
import { MatrixError } from '../protocol/errors.ts';
import { parseServerName, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonValue, Pdu } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { parseJson, parseJsonWithOddNumbers } from '../protocol/strict-json.ts';
import { isFinal } from './federation-error.ts';

/** Parsed anew each time that they are walked. */
export interface RoomState {
  readonly state: Iterable<JsonValue>;
  readonly authChain: Iterable<JsonValue>;
}

export interface JoinAnswer extends RoomState {
  /** Our join, as the other server says that it stands now. */
  readonly event: JsonValue;
  /** The servers in the room, where the state lacks members. */
  readonly partial: ReadonlySet<ServerName> | undefined;
}

/** An event of 64 KiB, its text escaped, with what servers put around it. */
const MAX_EVENT_BYTES = 1024 * 1024;
/** State and auth chain of the largest rooms there are, several times over. */
const MAX_EVENTS = 1_000_000;
/** More than the largest rooms have. */
const MAX_SERVERS = 15_000;

export interface JoinReading {
  readonly version: RoomVersion;
  readonly breathe: Breathe;
  /** Nothing more is read when it is aborted. */
  readonly signal: AbortSignal;
}

export async function readJoinAnswer(bytes: Buffer, reading: JoinReading): Promise<JoinAnswer> {
  const { values, lists } = await slice(withoutStatus(bytes), ['state', 'auth_chain'], reading);
  const readValue = (key: string): JsonValue => {
    const value = values.get(key);
    return value === undefined ? null : (parseOne(value) ?? null);
  };
  return {
    state: parseEach(lists.get('state') ?? [], reading),
    authChain: parseEach(lists.get('auth_chain') ?? [], reading),
    event: readValue('event'),
    partial: readValue('members_omitted') === true ? readServers(readValue('servers_in_room')) : undefined,
  };
}

/** The state at an event. */
export async function readStateAnswer(bytes: Buffer, reading: JoinReading): Promise<RoomState> {
  const { lists } = await slice(bytes, ['pdus', 'auth_chain'], reading);
  return {
    state: parseEach(lists.get('pdus') ?? [], reading),
    authChain: parseEach(lists.get('auth_chain') ?? [], reading),
  };
}

function readServers(value: JsonValue): ReadonlySet<ServerName> {
  const names = isJsonArray(value) ? value.slice(0, MAX_SERVERS) : [];
  return new Set(names.flatMap((name) => (typeof name === 'string' ? (parseServerName(name) ?? []) : [])));
}

async function slice(bytes: Buffer, lists: readonly string[], { breathe }: JoinReading): Promise<SlicedObject> {
  try {
    return await sliceObject(bytes, {
      lists: new Set(lists),
      maxBytes: MAX_EVENT_BYTES,
      maxElements: MAX_EVENTS,
      breathe,
    });
  } catch (cause) {
    if (!(cause instanceof SliceError)) throw cause;
    throw isFinal('malformed', 'the answer is no JSON object', cause);
  }
}

/** Version 1 of the API answers `[200, {...}]`. */
function withoutStatus(bytes: Buffer): Buffer {
  const [prefix] = /^\s*\[\s*200\s*,/.exec(bytes.toString('latin1', 0, 64)) ?? [''];
  return bytes.subarray(prefix.length);
}

function parseEach(slices: readonly Buffer[], reading: JoinReading): Iterable<JsonValue> {
  return { [Symbol.iterator]: () => parseSlices(slices, reading) };
}

/** What holds numbers that the room version does not allow is left out here, where they are seen. */
function* parseSlices(slices: readonly Buffer[], { version, signal }: JoinReading): Generator<JsonValue> {
  for (const bytes of slices) {
    if (signal.aborted) throw isFinal('cancelled', 'the server is stopping');
    const parsed = tryParse(() => parseJsonWithOddNumbers(bytes));
    if (parsed === undefined) continue;
    const { value, oddNumbers } = parsed;
    if (oddNumbers.size === 0 || checkPduFormat(value, version, oddNumbers).valid) yield value;
  }
}

function parseOne(bytes: Buffer): JsonValue | undefined {
  return tryParse(() => parseJson(bytes));
}

function tryParse<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof MatrixError) return undefined;
    throw cause;
  }
}

/**
 * Our join with the signature of the server whose user vouches for it. Of what that server gave nothing else is taken;
 * whether the signature is valid is seen when the join is taken in.
 */
export function withAuthoriserSignature(join: Pdu, event: JsonValue, authoriser: UserId | undefined): Pdu {
  if (authoriser === undefined) return join;
  const server = serverNameOf(authoriser);
  const given = isJsonObject(event) && isJsonObject(event['signatures']) ? event['signatures'] : {};
  const signatures = Object.hasOwn(given, server) ? textsIn(given[server]) : {};
  if (Object.keys(signatures).length === 0) {
    throw isFinal('malformed', 'the server of the user who vouches has not signed the join');
  }
  return { ...join, signatures: { ...join.signatures, [server]: signatures } };
}

/** A server signs with one key, rarely with two. */
const MAX_SIGNATURES = 4;

function textsIn(value: JsonValue | undefined): Readonly<Record<string, string>> {
  const entries = isJsonObject(value) ? Object.entries(value) : [];
  return Object.fromEntries(
    entries
      .flatMap(([key, text]): [string, string][] => (typeof text === 'string' ? [[key, text]] : []))
      .slice(0, MAX_SIGNATURES),
  );
}
