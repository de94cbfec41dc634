/**
 * Knocking on rooms that this server is not in, and leaving those that a user is invited to or has knocked on: a server in
 * the room gives a template, the event is made and signed here, and sent back. Servers are tried one after another.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#knocking-rooms
 * https://spec.matrix.org/v1.19/server-server-api/#leaving-rooms-rejecting-invites
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { EventId, RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject, Pdu } from '../protocol/pdu.ts';
import { ROOM_VERSIONS, type RoomVersion } from '../protocol/room-version.ts';
import type { SigningKey } from '../protocol/signing.ts';
import { type FederationClient, federationPath } from './client.ts';
import { FederationError, isFinal } from './federation-error.ts';
import { isRefusal, toClientError } from './handshake-errors.ts';
import { buildMember, type MemberWanted, readTemplate } from './member-template.ts';
import type { ServerPolicy } from './server-policy.ts';

/** Servers tried for one event. */
const MAX_SERVERS = 5;
/** As many that refuse are believed to speak for the room. */
const MAX_REFUSALS = 2;
/** After this no further server is tried: the client waits. */
const MAX_TRYING_MS = 45_000;
const DEADLINE_MS = 15_000;
/** A template, or the state that is shown to who knocks. */
const MAX_ANSWER_BYTES = 1024 * 1024;

export interface HandshakeRequest {
  readonly roomId: RoomId;
  readonly userId: UserId;
  /** Servers that may be in the room, in the order in which they are tried. */
  readonly servers: readonly ServerName[];
  /** Of the member event, without its membership. */
  readonly content: JsonObject;
}

/** An event that a server in the room has taken in. */
export interface Handshake {
  readonly pdu: Pdu;
  readonly eventId: EventId;
  readonly version: RoomVersion;
  readonly via: ServerName;
  readonly answer: JsonObject;
}

export interface RemoteHandshakes {
  /** A `MatrixError` where no server takes the knock. */
  knock(request: HandshakeRequest): Promise<Handshake>;
  /** Undefined where nobody in the room could be told. */
  leave(request: HandshakeRequest & { readonly version: RoomVersion }): Promise<Handshake | undefined>;
}

export interface RemoteHandshakesOptions {
  readonly client: Pick<FederationClient, 'fetchJson' | 'fetchBytes'>;
  readonly policy: ServerPolicy;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly random: Random;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted when this server stops: nobody is to wait for others then. */
  readonly stopping: AbortSignal;
}

type Asking = MemberWanted & Pick<HandshakeRequest, 'content'>;

export function createRemoteHandshakes(options: RemoteHandshakesOptions): RemoteHandshakes {
  return {
    async knock(request) {
      const tried = await tryServers(options, request, (server) => knockVia(options, { ...request, server }));
      if ('failures' in tried) throw toClientError(tried.failures);
      return tried;
    },
    async leave(request) {
      const tried = await tryServers(options, request, (server) => leaveVia(options, { ...request, server }));
      return 'failures' in tried ? undefined : tried;
    },
  };
}

async function tryServers(
  { clock, policy, logger, serverName, stopping }: RemoteHandshakesOptions,
  { roomId, servers }: HandshakeRequest,
  attempt: (server: ServerName) => Promise<Handshake>,
): Promise<Handshake | { readonly failures: readonly FederationError[] }> {
  const failures: FederationError[] = [];
  const since = clock.monotonic();
  const others = [...new Set(servers)].filter((server) => server !== serverName && policy.admits(server));
  for (const server of others.slice(0, MAX_SERVERS)) {
    try {
      return await attempt(server);
    } catch (cause) {
      if (!(cause instanceof FederationError)) throw cause;
      // That nobody answered is not true then, and must not be taken for it.
      if (stopping.aborted) throw new MatrixError('M_UNKNOWN', 'This server is stopping', { status: 503, cause });
      logger.info({ cause, roomId, server }, 'a server did not take an event of a user of ours');
      failures.push(cause);
    }
    const isTold = failures.filter(isRefusal).length >= MAX_REFUSALS;
    if (isTold || clock.monotonic() - since > MAX_TRYING_MS) break;
  }
  return { failures };
}

async function knockVia(
  options: RemoteHandshakesOptions,
  request: HandshakeRequest & { readonly server: ServerName },
): Promise<Handshake> {
  const asking: Asking = { ...request, membership: 'knock' };
  const { roomId, userId, server } = asking;
  const knocking = [...ROOM_VERSIONS.values()].filter(({ knock }) => knock);
  const versions = knocking.map(({ id }) => federationPath`ver=${id}`).join('&');
  const path = `${federationPath`/_matrix/federation/v1/make_knock/${roomId}/${userId}`}?${versions}`;
  const made = await make(options, asking, path);
  if (!made.version.knock) throw isFinal('malformed', 'the room has a version that knows no knocking');
  const answer = await options.client.fetchJson({
    destination: server,
    method: 'PUT',
    path: federationPath`/_matrix/federation/v1/send_knock/${roomId}/${made.eventId}`,
    body: made.pdu,
    deadlineMs: DEADLINE_MS,
    maxBytes: MAX_ANSWER_BYTES,
    signal: options.stopping,
  });
  return { ...made, answer };
}

async function leaveVia(
  options: RemoteHandshakesOptions,
  request: HandshakeRequest & { readonly version: RoomVersion; readonly server: ServerName },
): Promise<Handshake> {
  const asking: Asking = { ...request, membership: 'leave' };
  const { roomId, userId } = asking;
  const made = await make(options, asking, federationPath`/_matrix/federation/v1/make_leave/${roomId}/${userId}`);
  if (!isSameFormat(made.version, request.version))
    throw isFinal('malformed', 'the room has another version than it had');
  await sendLeave(options, asking, made);
  return { ...made, version: request.version, answer: {} };
}

/** Servers need not say which of the first two versions it is. */
function isSameFormat(a: RoomVersion, b: RoomVersion): boolean {
  return a.id === b.id || (a.eventIds === 'server' && b.eventIds === 'server');
}

type Made = Omit<Handshake, 'answer'>;

async function make(options: RemoteHandshakesOptions, asking: Asking, path: string): Promise<Made> {
  const { server: destination } = asking;
  const answer = await options.client.fetchJson({
    destination,
    method: 'GET',
    path,
    deadlineMs: DEADLINE_MS,
    maxBytes: MAX_ANSWER_BYTES,
    signal: options.stopping,
  });
  const template = readTemplate(answer, asking);
  const { pdu, eventId } = buildMember(template, asking, { ...options, now: options.clock.now() });
  return { pdu, eventId, version: template.version, via: destination };
}

/** By the second version of the API, or by the first where a server knows no other. */
async function sendLeave(
  { client, stopping: signal }: RemoteHandshakesOptions,
  { server: destination, roomId }: Asking,
  { pdu, eventId }: Made,
): Promise<void> {
  const path = federationPath`/send_leave/${roomId}/${eventId}`;
  const request = {
    destination,
    method: 'PUT',
    body: pdu,
    deadlineMs: DEADLINE_MS,
    maxBytes: MAX_ANSWER_BYTES,
    signal,
  } as const;
  try {
    await client.fetchBytes({ ...request, path: `/_matrix/federation/v2${path}` });
  } catch (cause) {
    const isOld = cause instanceof FederationError && (cause.status === 400 || cause.status === 404);
    if (!isOld) throw cause;
    await client.fetchBytes({ ...request, path: `/_matrix/federation/v1${path}` });
  }
}
