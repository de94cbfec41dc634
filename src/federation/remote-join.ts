/**
 * A user of ours joins a room by way of a server that is in it: a template is asked for, the join made and signed here, and
 * what comes back goes to the engine. Servers are tried one after another, until one lets the user in.
 *
 * Invariants: one handshake of a room at a time; what is signed is made here; nothing of the room is here before its import
 * is committed; events of the room that arrive meanwhile wait for it.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
 */
import type { RoomImporter } from '../engine/import-room.ts';
import { createLocalMembers } from '../engine/local-members.ts';
import type { Receiver } from '../engine/receive-pdu.ts';
import { membershipIn } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { createBreather } from '../lib/breather.ts';
import type { Clock } from '../lib/clock.ts';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';
import type { JsonObject, Pdu } from '../protocol/pdu.ts';
import { ROOM_VERSIONS, type RoomVersion } from '../protocol/room-version.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { type FederationClient, type FederationRequest, federationPath } from './client.ts';
import { FederationError, isFinal } from './federation-error.ts';
import { isRefusal, toClientError } from './handshake-errors.ts';
import { type JoinAnswer, readJoinAnswer, withAuthoriserSignature } from './join-answer.ts';
import { prepareKeys } from './join-keys.ts';
import type { Keyring } from './keyring.ts';
import { buildMember, type MemberTemplate, type MemberWanted, readTemplate } from './member-template.ts';
import type { ServerPolicy } from './server-policy.ts';

/** Servers tried for one join. */
const MAX_SERVERS = 10;
/** As many that refuse are believed to speak for the room. */
const MAX_REFUSALS = 3;
/** After this no further server is tried: the client has long given up. */
const MAX_TRYING_MS = 3 * 60_000;
const TEMPLATE_DEADLINE_MS = 15_000;
const MAX_TEMPLATE_BYTES = 256 * 1024;
/** A large room takes the other server its time. */
const JOIN_DEADLINE_MS = 120_000;
/** The largest rooms there are: some 100,000 members. */
const MAX_JOIN_BYTES = 256 * 1024 * 1024;

export interface RemoteJoinRequest {
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** Servers that may be in the room, in the order in which they are tried. */
  readonly servers: readonly ServerName[];
  /** Of the member event, without its membership. */
  readonly content: JsonObject;
}

/** A room whose state is on its way. */
export interface PendingRoom {
  readonly version: RoomVersion;
  /** Resolves when the room is here, or will not be. */
  readonly over: Promise<unknown>;
}

export interface RemoteJoins extends AsyncDisposable {
  /**
   * Undefined where another join has brought the room here meanwhile, or where there is no server to ask; a `MatrixError`
   * where none lets the user in.
   */
  join(request: RemoteJoinRequest): Promise<EventId | undefined>;
  /** As `join`, for a room that is here already, where nobody of ours may let the user in. */
  joinAuthorised(request: RemoteJoinRequest): Promise<EventId | undefined>;
  getPending(roomId: RoomId): PendingRoom | undefined;
}

export interface RemoteJoinsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly client: FederationClient;
  readonly policy: ServerPolicy;
  readonly importer: RoomImporter;
  readonly receiver: Receiver;
  readonly keyring: Pick<Keyring, 'prepare'>;
  /** A room is here whose members may still be missing. */
  readonly onPartial: (roomId: RoomId) => void;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly random: Random;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a join is made into, once a server has let the user in. */
interface Goal {
  /** Whether the room comes here by it. */
  readonly bringsRoom: boolean;
  takeIn(handshake: Handshake): Promise<void>;
}

interface Handshake extends MemberWanted {
  readonly version: RoomVersion;
  readonly join: Pdu;
  readonly answer: JoinAnswer;
}

interface Parts extends RemoteJoinsOptions {
  readonly pending: Map<RoomId, PendingRoom>;
  readonly stopping: AbortSignal;
}

export function createRemoteJoins(options: RemoteJoinsOptions): RemoteJoins {
  const stopping = new AbortController();
  const queue = new KeyedQueue<RoomId>();
  const isInhabited = createLocalMembers(options.serverName);
  const parts: Parts = { ...options, pending: new Map(), stopping: stopping.signal };
  const toHere: Goal = { bringsRoom: true, takeIn: (handshake) => importRoom(parts, handshake) };
  const toRoom: Goal = { bringsRoom: false, takeIn: (handshake) => receiveJoin(parts, handshake) };
  return {
    join: (request) =>
      queue.run(request.roomId, async () => {
        const snapshot = await options.engine.loadSnapshot(request.roomId);
        if (snapshot !== undefined && isInhabited(snapshot)) return undefined;
        return tryServers(parts, request, toHere);
      }),
    joinAuthorised: (request) => queue.run(request.roomId, () => tryServers(parts, request, toRoom)),
    getPending: (roomId) => parts.pending.get(roomId),
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await queue.idle();
    },
  };
}

async function tryServers(parts: Parts, request: RemoteJoinRequest, goal: Goal): Promise<EventId | undefined> {
  const { clock, policy, logger } = parts;
  const { roomId } = request;
  const failures: FederationError[] = [];
  const since = clock.monotonic();
  const servers = [...new Set(request.servers)].filter((server) => policy.admits(server)).slice(0, MAX_SERVERS);
  for (const server of servers) {
    try {
      return await joinVia(parts, { ...request, server, membership: 'join' }, goal);
    } catch (cause) {
      if (!(cause instanceof FederationError)) throw cause;
      logger.info({ cause, roomId, server }, 'a server did not let a user into a room');
      failures.push(cause);
    }
    const isTold = failures.filter(isRefusal).length >= MAX_REFUSALS;
    if (isTold || parts.stopping.aborted || clock.monotonic() - since > MAX_TRYING_MS) break;
  }
  if (servers.length === 0) return undefined;
  throw toClientError(failures);
}

type Joining = MemberWanted & Pick<RemoteJoinRequest, 'content'>;

async function joinVia(parts: Parts, joining: Joining, goal: Goal): Promise<EventId> {
  const template = readTemplate(await fetchTemplate(parts, joining), joining);
  await refuseBanned(parts, joining, template);
  const { version } = template;
  const { pdu, eventId } = buildMember(template, joining, { ...parts, now: parts.clock.now() });
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  if (goal.bringsRoom) parts.pending.set(joining.roomId, { version, over });
  try {
    const bytes = await sendJoin(parts, joining, { pdu, eventId });
    const breathe = createBreather(parts.clock);
    const answer = await readJoinAnswer(bytes, { version, breathe, signal: parts.stopping });
    if (goal.bringsRoom) await prepareKeys(parts.keyring, answer, { version, breathe });
    await goal.takeIn({
      ...joining,
      version,
      answer,
      join: withAuthoriserSignature(pdu, answer.event, template.authoriser),
    });
    return eventId;
  } finally {
    parts.pending.delete(joining.roomId);
    end();
  }
}

/** A server that lets the user in although it names their ban has not looked at it. */
async function refuseBanned({ engine }: Parts, { roomId, userId }: Joining, template: MemberTemplate): Promise<void> {
  const known = (await engine.loadSnapshot(roomId))?.get('m.room.member', userId);
  const isNamed =
    known !== undefined && template.authEvents.some((ref) => (isJsonArray(ref) ? ref[0] : ref) === known.eventId);
  if (isNamed && membershipIn(known.content) === 'ban') {
    throw new MatrixError('M_FORBIDDEN', 'You are banned from this room');
  }
}

function fetchTemplate({ client, stopping }: Parts, { server, roomId, userId }: Joining): Promise<JsonObject> {
  const versions = [...ROOM_VERSIONS.keys()].map((id) => federationPath`ver=${id}`).join('&');
  return client.fetchJson({
    destination: server,
    method: 'GET',
    path: `${federationPath`/_matrix/federation/v1/make_join/${roomId}/${userId}`}?${versions}`,
    deadlineMs: TEMPLATE_DEADLINE_MS,
    maxBytes: MAX_TEMPLATE_BYTES,
    signal: stopping,
  });
}

interface SignedJoin {
  readonly pdu: Pdu;
  readonly eventId: EventId;
}

/** By the second version of the API, or by the first where a server knows no other. */
async function sendJoin(
  { client, stopping }: Parts,
  { server, roomId }: Joining,
  { pdu, eventId }: SignedJoin,
): Promise<Buffer> {
  const request: Omit<FederationRequest, 'path'> = {
    destination: server,
    method: 'PUT',
    body: pdu,
    deadlineMs: JOIN_DEADLINE_MS,
    maxBytes: MAX_JOIN_BYTES,
    signal: stopping,
  };
  const path = federationPath`/send_join/${roomId}/${eventId}`;
  try {
    return await client.fetchBytes({ ...request, path: `/_matrix/federation/v2${path}?omit_members=true` });
  } catch (cause) {
    if (!(cause instanceof FederationError) || !isUnrecognized(cause)) throw cause;
    return client.fetchBytes({ ...request, path: `/_matrix/federation/v1${path}` });
  }
}

function isUnrecognized({ status, errcode }: FederationError): boolean {
  return errcode === 'M_UNRECOGNIZED' || status === 405 || (status === 404 && errcode === undefined);
}

async function importRoom(parts: Parts, { answer, join, server, ...room }: Handshake): Promise<void> {
  const { importer, serverName, onPartial } = parts;
  const servers = answer.partial?.union(new Set([server]));
  servers?.delete(serverName);
  const imported = await importer.importRoom({
    roomId: room.roomId,
    version: room.version,
    state: answer.state,
    authChain: answer.authChain,
    joinEvent: join,
    via: server,
    partial: servers,
  });
  if (!imported.imported) throw isFinal('malformed', `the room cannot be taken in: ${imported.reason}`);
  onPartial(room.roomId);
}

/** A room that we are in takes the join like any other event. */
async function receiveJoin({ receiver }: Parts, { roomId, join, server }: Handshake): Promise<void> {
  const [result] = await receiver.receive(roomId, { origin: server, pdus: [join] }, { isOutgoing: false });
  if (result?.outcome === 'accepted' || result?.outcome === 'known') return;
  throw isFinal('malformed', `the join is not one that this room allows: ${result?.reason ?? result?.outcome}`);
}
