/**
 * Transactions of other servers: each PDU and EDU judged alone, the PDUs staged in one database transaction, and then
 * acknowledged. What they become is worked out afterwards, room by room in the order in which they came; who asks again
 * with the same transaction id is given the same answer.
 *
 * Invariants: one transaction of an origin is in work at a time; nothing is acknowledged that is not durable; a staged PDU
 * is removed only after the engine has taken it in or turned it down; what comes for a room that is being joined waits.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#transactions
 */

import type { Receiver } from '../engine/receive-pdu.ts';
import { createRoomAcls, type RoomAcls } from '../engine/room-acls.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import type { Logger } from '../lib/logger.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import { eventIdOf } from '../protocol/hashes.ts';
import { parseRoomId, type RoomId, type ServerName } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { checkPduFormat } from '../protocol/pdu-format.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import type { Database } from '../storage/database.ts';
import { deleteOldAnswers, insertInbound, listStagedRooms, loadInboundAnswer } from '../storage/inbound.ts';
import { readDeviceEdus, storeDeviceEdus } from './device-edus.ts';
import { dispatchEdus, type EduPorts } from './inbound-edus.ts';
import type { RemoteJoins } from './remote-join.ts';
import { createStagedWork } from './staged-work.ts';

/** https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid */
const MAX_PDUS = 50;
const MAX_EDUS = 100;
const MAX_TXN_ID_LENGTH = 255;
/** Answers are kept for as long as a server may sensibly ask again. */
const ANSWER_LIFETIME_MS = 24 * 60 * 60 * 1000;
const CLEANING_INTERVAL_MS = 60 * 60 * 1000;

export interface InboundTransactionRequest {
  /** As the request's signature proved. */
  readonly origin: ServerName;
  readonly txnId: string;
  readonly body: JsonValue;
  readonly oddNumbers?: OddNumbers | undefined;
}

export interface Inbound extends AsyncDisposable {
  /** Takes up what an earlier process left. */
  start(): Promise<void>;
  /** The answer's body; a `MatrixError` where the transaction as a whole is refused. */
  handle(request: InboundTransactionRequest): Promise<JsonObject>;
  /** Resolves when nothing waits any more. */
  idle(): Promise<void>;
}

export interface InboundOptions {
  readonly serverName: ServerName;
  readonly database: Database;
  readonly engine: Pick<RoomEngine, 'loadSnapshot' | 'loadSnapshots'>;
  readonly receiver: Receiver;
  readonly edus: EduPorts;
  /** Rooms that a user of ours is about to be in. */
  readonly joins: Pick<RemoteJoins, 'getPending'>;
  /** Of rooms that we are not in, and that users of ours are invited to or knock on. */
  readonly loadOutsideVersions: (roomIds: readonly RoomId[]) => Promise<ReadonlyMap<RoomId, RoomVersion>>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export function createInbound(options: InboundOptions): Inbound {
  const { database, clock } = options;
  const isAllowed = createRoomAcls();
  const origins = new KeyedQueue<ServerName>();
  const rooms = createStagedWork(options);
  const eduParts = { engine: options.engine, ports: options.edus, isAllowed, clock, afterEvents: rooms.afterwards };
  let cleanedAt = clock.monotonic();

  async function forgetOldAnswers(): Promise<void> {
    cleanedAt = clock.monotonic();
    await deleteOldAnswers(database, clock.now() - ANSWER_LIFETIME_MS);
  }

  async function handleAlone(request: InboundTransactionRequest): Promise<JsonObject> {
    const { origin, txnId, oddNumbers } = request;
    const { pdus, edus } = readTransaction(request);
    const known = await loadInboundAnswer(database, { origin, txnId });
    if (known !== undefined) return parseJsonText(known) as JsonObject;
    const judged = await judgePdus(options, isAllowed, { origin, pdus, oddNumbers });
    const answer = { pdus: Object.fromEntries(judged.map(({ eventId, error }) => [eventId, error ? { error } : {}])) };
    const staged = judged.filter(({ error }) => error === undefined);
    const now = clock.now();
    const deviceEdus = readDeviceEdus({ origin, serverName: options.serverName }, edus);
    await database.transaction((tx) =>
      Promise.all([
        insertInbound(tx, {
          origin,
          txnId,
          answer: JSON.stringify(answer),
          receivedAt: now,
          pdus: staged.map(({ roomId, text }) => ({ roomId, pdu: text })),
        }),
        storeDeviceEdus(tx, deviceEdus, now),
      ]),
    );
    for (const roomId of new Set(staged.map((one) => one.roomId))) rooms.wake(roomId);
    if (clock.monotonic() - cleanedAt > CLEANING_INTERVAL_MS) await forgetOldAnswers();
    await dispatchEdus(eduParts, origin, edus);
    return answer;
  }

  return {
    async start() {
      await forgetOldAnswers();
      for (const roomId of await listStagedRooms(database)) rooms.wake(roomId);
    },
    handle: (request) => origins.run(request.origin, () => handleAlone(request)),
    idle: () => rooms.idle(),
    [Symbol.asyncDispose]: () => rooms.stop(),
  };
}

interface TransactionParts {
  readonly pdus: readonly JsonValue[];
  readonly edus: readonly JsonValue[];
}

function readTransaction({ body, txnId }: InboundTransactionRequest): TransactionParts {
  if (txnId.length > MAX_TXN_ID_LENGTH) throw new MatrixError('M_INVALID_PARAM', 'The transaction id is too long');
  if (!isJsonObject(body)) throw new MatrixError('M_BAD_JSON', 'A transaction is an object');
  const { pdus = [], edus = [] } = body;
  if (!isJsonArray(pdus) || !isJsonArray(edus)) throw new MatrixError('M_BAD_JSON', 'pdus and edus are lists');
  if (pdus.length > MAX_PDUS || edus.length > MAX_EDUS) {
    throw new MatrixError('M_TOO_LARGE', `A transaction has ${MAX_PDUS} PDUs and ${MAX_EDUS} EDUs at most`);
  }
  return { pdus, edus };
}

interface PdusOfOrigin {
  readonly origin: ServerName;
  readonly pdus: readonly JsonValue[];
  readonly oddNumbers: OddNumbers | undefined;
}

interface JudgedPdu {
  readonly roomId: RoomId;
  readonly eventId: string;
  readonly text: string;
  readonly error: string | undefined;
}

/** Those that can be told apart as events of a room that we know; whatever else came cannot even be answered for. */
async function judgePdus(
  { engine, joins, loadOutsideVersions }: InboundOptions,
  isAllowed: RoomAcls,
  { origin, pdus, oddNumbers }: PdusOfOrigin,
): Promise<readonly JudgedPdu[]> {
  const named = pdus.flatMap((value) => {
    const roomId =
      isJsonObject(value) && typeof value['room_id'] === 'string' ? parseRoomId(value['room_id']) : undefined;
    return roomId === undefined ? [] : [{ value, roomId }];
  });
  const roomIds = [...new Set(named.map(({ roomId }) => roomId))];
  const snapshots = await engine.loadSnapshots(roomIds);
  const outside = await loadOutsideVersions(roomIds.filter((roomId) => !snapshots.has(roomId)));
  return named.flatMap(({ value, roomId }) => {
    const snapshot = snapshots.get(roomId);
    const version = snapshot?.version ?? joins.getPending(roomId)?.version ?? outside.get(roomId);
    if (version === undefined) return [];
    const format = checkPduFormat(value, version, oddNumbers);
    const eventId = format.valid ? eventIdOf(format.pdu, version) : idOf(value, version);
    if (eventId === undefined) return [];
    const isRefused = snapshot !== undefined && !isAllowed(snapshot, origin);
    const refused = isRefused ? 'the room does not let this server take part' : undefined;
    const error = format.valid ? refused : format.reason;
    return [{ roomId, eventId, text: JSON.stringify(value), error }];
  });
}

/** Of what has no valid format too, as far as it has an id. */
function idOf(value: JsonValue, version: RoomVersion): string | undefined {
  const format = checkPduFormat(value, version);
  if (format.valid) return eventIdOf(format.pdu, version);
  const claimed = isJsonObject(value) && version.eventIds === 'server' ? value['event_id'] : undefined;
  return typeof claimed === 'string' ? claimed : undefined;
}
