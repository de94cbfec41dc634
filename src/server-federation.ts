/**
 * The part of the composition root that talks with other servers: where they are, requests to them, keys, and who a request
 * of theirs comes from. Made before the features that ask others, and closed after them.
 */

import { type Backfiller, createBackfiller } from './engine/backfill.ts';
import { createRoomCompleter } from './engine/complete-room.ts';
import { createForkHealer } from './engine/heal-forks.ts';
import { createRoomImporter, type RoomImporter } from './engine/import-room.ts';
import { createPolicing } from './engine/policing.ts';
import { createReceiver, type Receiver } from './engine/receive-pdu.ts';
import { createResolutionRunner } from './engine/resolution-runner.ts';
import type { WritableRoomEngine } from './engine/room-engine.ts';
import { createPolicedEngine } from './engine/send-policed.ts';
import { createPeerReader, type PeerReader } from './engine/serve-peers.ts';
import { createStateResolver } from './engine/state-resolver.ts';
import type { RoomEngine } from './engine/types.ts';
import type { Presence } from './ephemeral/presence.ts';
import type { Receipts } from './ephemeral/receipts.ts';
import type { Typing } from './ephemeral/typing.ts';
import { createFederationClient, type FederationClient } from './federation/client.ts';
import { createFederationAdmin, type FederationAdmin } from './federation/federation-admin.ts';
import { createInbound, type Inbound } from './federation/inbound.ts';
import type { EduPorts } from './federation/inbound-edus.ts';
import { createKeyFetcher, type KeyFetcher } from './federation/key-fetcher.ts';
import { createKeyStore } from './federation/key-store.ts';
import { createKeyring, type Keyring } from './federation/keyring.ts';
import { followLocalEdus, type PresentUsers, type TypingUsers } from './federation/local-edus.ts';
import { createLocationClient, type OpenLocation } from './federation/location-client.ts';
import { createNotary, type Notary } from './federation/notary.ts';
import { createOwnKeys, type OwnKeys } from './federation/own-keys.ts';
import { createPolicySigner } from './federation/policy-signatures.ts';
import { createRemoteDirectory, type RemoteDirectory } from './federation/remote-directory.ts';
import { createRemoteJoins, type RemoteJoins } from './federation/remote-join.ts';
import { createRemoteProfiles, type FetchRemoteProfile } from './federation/remote-profiles.ts';
import { createRemoteReading, type RemoteReading } from './federation/remote-reading.ts';
import { createPduVerifier, createRemoteRooms } from './federation/remote-rooms.ts';
import { createRequestAuth, type RequestAuth } from './federation/request-auth.ts';
import { createResolver, type Resolver, type ResolveSrv } from './federation/resolver.ts';
import { createRoomCompletion, type RoomCompletion } from './federation/room-completion.ts';
import { createRoomServers } from './federation/room-servers.ts';
import { createSender, type Sender, type SenderOptions } from './federation/sender.ts';
import { createServerPolicy, type ServerPolicy } from './federation/server-policy.ts';
import { createTransport } from './federation/transport.ts';
import { createVerifyPool } from './federation/verify-pool.ts';
import { createWellKnown } from './federation/well-known.ts';
import type { Clock } from './lib/clock.ts';
import { KeyedQueue } from './lib/keyed-queue.ts';
import type { Logger } from './lib/logger.ts';
import type { Metrics } from './lib/metrics.ts';
import { createNetworkPolicy, type ResolveName } from './lib/network-policy.ts';
import type { ProxySettings } from './lib/outbound-connector.ts';
import type { Random } from './lib/random.ts';
import { parseServerName, type RoomId, type ServerName } from './protocol/ids.ts';
import type { SigningKey } from './protocol/signing.ts';
import { createElsewhere, type Elsewhere } from './rooms/elsewhere.ts';
import { createResidentHandshakes, type ResidentHandshakes } from './rooms/resident-handshakes.ts';
import { createResidentJoins, type ResidentJoins } from './rooms/resident-joins.ts';
import { createResidentRooms } from './rooms/resident-room.ts';
import { createThirdPartyInvites, type ThirdPartyInvites } from './rooms/third-party-invites.ts';
import type { Database } from './storage/database.ts';
import { listRetiredKeys } from './storage/server-keys.ts';
import type { Committer } from './streams/committer.ts';
import type { Hub } from './streams/hub.ts';

export interface FederationSettings {
  readonly enabled: boolean;
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly allowedNetworks: readonly string[];
  readonly deniedNetworks: readonly string[];
  /** PEM texts. */
  readonly certificates: readonly string[];
  readonly trustedKeyServers: readonly string[];
  readonly proxy?: ProxySettings | undefined;
}

export interface FederationOptions {
  readonly settings: FederationSettings;
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly userAgent: string;
  /** In the place of DNS. */
  readonly resolveName?: ResolveName;
  readonly resolveSrv?: ResolveSrv;
}

/** With what it was made from, so that those who build on it need nothing else. */
export interface Federation
  extends AsyncDisposable,
    Pick<FederationOptions, 'database' | 'clock' | 'logger' | 'serverName' | 'signingKey'> {
  readonly isEnabled: boolean;
  readonly client: FederationClient;
  readonly keyring: Keyring;
  readonly ownKeys: OwnKeys;
  readonly keyFetcher: KeyFetcher;
  readonly notary: Notary;
  readonly resolver: Resolver;
  readonly policy: ServerPolicy;
  readonly fetchRemoteProfile: FetchRemoteProfile;
  readonly directory: RemoteDirectory;
  readonly openLocation: OpenLocation;
}

export async function createFederation(options: FederationOptions): Promise<Federation> {
  const { settings, database, clock, serverName } = options;
  const retiredKeys = await listRetiredKeys(database);
  // Who talks with nobody denies everybody.
  const policy = createServerPolicy({
    serverName,
    allow: settings.allow,
    deny: settings.enabled ? settings.deny : ['*'],
  });
  const transport = createTransport({
    ...options,
    policy: createNetworkPolicy({ allowed: settings.allowedNetworks, denied: settings.deniedNetworks }),
    certificates: settings.certificates,
    proxy: settings.proxy,
  });
  const resolver = createResolver({ ...options, wellKnown: createWellKnown({ transport, clock }) });
  const client = createFederationClient({ ...options, policy, resolver, transport });
  const ownKeys = createOwnKeys({ ...options, retiredKeys });
  const trustedServers = settings.trustedKeyServers.map(parseServerName).filter((name) => name !== undefined);
  const store = createKeyStore(database);
  const fetcher = createKeyFetcher({ ...options, client, store, trustedServers });
  const keyring = createKeyring({ database, ownKeys, fetcher, pool: createVerifyPool() });
  return {
    database,
    clock,
    logger: options.logger,
    serverName,
    signingKey: options.signingKey,
    isEnabled: settings.enabled,
    client,
    keyring,
    ownKeys,
    keyFetcher: fetcher,
    notary: createNotary({ database, clock, ownKeys, fetcher }),
    resolver,
    policy,
    fetchRemoteProfile: createRemoteProfiles({ serverName, client }),
    directory: createRemoteDirectory(client),
    openLocation: createLocationClient(transport),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}

export interface FederationTrafficOptions extends Federation, Omit<SenderOptions, keyof Federation | 'roomServers'> {
  /** Undefined where presence is off. */
  readonly presenceParts: PresentUsers | undefined;
  readonly typing: TypingUsers;
  readonly engine: RoomEngine;
  readonly metrics: Metrics;
}

export interface FederationTraffic extends AsyncDisposable {
  readonly sender: Sender;
  readonly admin: FederationAdmin;
  readonly requestAuth: RequestAuth;
}

/** Sending, and knowing who sends to us: made after the engine, whose events it follows, and closed before it. */
export async function createFederationTraffic(options: FederationTrafficOptions): Promise<FederationTraffic> {
  await using stack = new AsyncDisposableStack();
  const roomServers = createRoomServers();
  const sender = stack.use(await createSender({ ...options, roomServers }));
  stack.use(followLocalEdus({ ...options, roomServers, sender }));
  measure(options.metrics, sender);
  const resources = stack.move();
  return {
    sender,
    admin: createFederationAdmin({ ...options, sender }),
    requestAuth: createRequestAuth({ ...options, onSeen: (origin) => sender.heardFrom(origin) }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

export interface FederationRoomsOptions extends Federation {
  readonly engine: WritableRoomEngine;
  readonly hub: Hub;
  readonly writerId: number;
  readonly committer: Pick<Committer, 'commit'>;
  readonly typing: Pick<Typing, 'start' | 'stop'>;
  readonly receipts: Receipts;
  readonly presenceParts:
    | (Pick<PresentUsers, 'sharedRooms'> & { readonly presence: Pick<Presence, 'setRemote'> })
    | undefined;
  readonly random: Random;
}

/** Rooms that other servers are in: what they send of them, what they are told of them, and what is asked of them. */
export interface FederationRooms extends AsyncDisposable {
  /** The engine for all that users do: it asks the policy servers of rooms. */
  readonly engine: RoomEngine;
  readonly inbound: Inbound;
  readonly receiver: Receiver;
  readonly importer: RoomImporter;
  /** What the reading of rooms asks other servers with; nothing where this server talks with none. */
  readonly reading: { readonly backfiller?: Backfiller; readonly remoteReading?: RemoteReading };
  readonly peers: PeerReader;
  readonly remoteJoins: RemoteJoins;
  readonly completion: RoomCompletion;
  readonly residentJoins: ResidentJoins;
  readonly residentHandshakes: ResidentHandshakes;
  readonly elsewhere: Elsewhere;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

/** Made after the features that what is received goes to; closed before the engine. */
export function createFederationRooms(options: FederationRoomsOptions): FederationRooms {
  const { database, engine, clock, logger, serverName } = options;
  const stack = new AsyncDisposableStack();
  const stopping = new AbortController();
  const runner = stack.use(createResolutionRunner());
  const { eventNids, snapshotNids } = engine.writing;
  const signer = createPolicySigner({ ...options, stopping: stopping.signal });
  const shared = {
    ...options,
    eventNids,
    resolver: createStateResolver({ database, snapshotNids, runner }),
    verifier: createPduVerifier(options.keyring),
    remote: createRemoteRooms({ ...options, stopping: stopping.signal }),
    policing: createPolicing({ serverName, signer }),
    receiving: new KeyedQueue<RoomId>(),
  };
  stack.defer(() => shared.receiving.idle());
  const receiver = createReceiver(shared);
  const policed = createPolicedEngine(shared);
  const importer = createRoomImporter(shared);
  const onProgress = (roomId: RoomId, events: number): void =>
    logger.info({ roomId, events }, 'the members of a room are on their way');
  const completion = createRoomCompletion({ ...options, completer: createRoomCompleter({ ...shared, onProgress }) });
  const remoteJoins = createRemoteJoins({ ...options, importer, receiver, onPartial: completion.wake });
  const residence = { ...options, receiver, loadResidentRoom: createResidentRooms(options) };
  const elsewhere = createElsewhere({ ...shared, receiver, stopping: stopping.signal });
  const onFailed = (cause: unknown): void => logger.warn({ cause }, 'the forks of a room could not be joined');
  stack.use(createForkHealer({ engine: policed, hub: options.hub, serverName, onFailed }));
  const inbound = stack.use(
    createInbound({
      serverName,
      database,
      engine,
      receiver: elsewhere.endings.receiver,
      joins: remoteJoins,
      loadOutsideVersions: elsewhere.endings.loadVersions,
      clock,
      logger,
      edus: createEduPorts(options),
    }),
  );
  stack.use(completion);
  // Stopped first: what came for a room that is being joined, or knocked on, waits for that.
  stack.use(remoteJoins);
  stack.defer(() => stopping.abort());
  return {
    engine: policed,
    inbound,
    receiver,
    importer,
    reading: options.isEnabled
      ? { backfiller: createBackfiller(shared), remoteReading: createRemoteReading(options.client) }
      : {},
    peers: createPeerReader({ database, engine }),
    remoteJoins,
    completion,
    residentJoins: createResidentJoins(residence),
    residentHandshakes: createResidentHandshakes(residence),
    elsewhere,
    thirdPartyInvites: createThirdPartyInvites({
      ...residence,
      engine: policed,
      inviteElsewhere: elsewhere.memberships,
    }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function createEduPorts({ typing, receipts, presenceParts, logger }: FederationRoomsOptions): EduPorts {
  const { presence, sharedRooms } = presenceParts ?? {};
  return {
    setTyping: (roomId, userId, isTyping) => (isTyping ? typing.start(roomId, userId) : typing.stop(roomId, userId)),
    moveReceipt: (receipt) => receipts.take(receipt),
    async setPresence(statuses) {
      await sharedRooms?.load(statuses.map(({ userId }) => userId));
      for (const { userId, ...status } of statuses) {
        // Of whom nobody here shares a room with, nobody here wants to know.
        if ((sharedRooms?.getRooms(userId)?.size ?? 0) > 0) presence?.setRemote(userId, status);
      }
    },
    onFailed: (cause, type) => logger.warn({ cause, type }, 'an EDU of another server was lost'),
  };
}

function measure(metrics: Metrics, sender: Sender): void {
  const gauge = (name: string, help: string, read: () => number): void => metrics.gauge({ name, help, read });
  gauge('federation_destinations_waiting', 'Servers that something waits for', () => sender.counts.waiting);
  gauge('federation_destinations_failing', 'Servers that do not take what they are sent', () => sender.counts.failing);
}
