/**
 * Memberships that other servers have a say in, put together: of users of ours in rooms that this server is not in, and of
 * users of other servers in ours.
 */
import type { Policing } from '../engine/policing.ts';
import type { PduVerifier } from '../engine/ports.ts';
import type { Receiver } from '../engine/receive-pdu.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { FederationClient } from '../federation/client.ts';
import type { Keyring } from '../federation/keyring.ts';
import { createRemoteHandshakes } from '../federation/remote-handshakes.ts';
import { createRemoteInvites } from '../federation/remote-invites.ts';
import type { ServerPolicy } from '../federation/server-policy.ts';
import type { JobKind } from '../jobs/job-runner.ts';
import type { Clock } from '../lib/clock.ts';
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import type { Logger } from '../lib/logger.ts';
import type { Random } from '../lib/random.ts';
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { Database } from '../storage/database.ts';
import type { Committer } from '../streams/committer.ts';
import { createInviteElsewhere, type InviteElsewhere } from './invite-elsewhere.ts';
import { createKnockElsewhere, type KnockElsewhere } from './knock-elsewhere.ts';
import { createLaterLeaves } from './later-leaves.ts';
import { createLeaveElsewhere, type LeaveElsewhere } from './leave-elsewhere.ts';
import { createOutsideEndings, type OutsideEndings } from './outside-endings.ts';
import { createOutsideStandings } from './outside-standing.ts';
import { createReceivedInvites, type ReceivedInvites } from './received-invites.ts';

export interface ElsewhereOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly committer: Pick<Committer, 'commit'>;
  readonly receiver: Receiver;
  readonly policing: Policing;
  readonly verifier: PduVerifier;
  readonly keyring: Pick<Keyring, 'verifyObject'>;
  readonly client: Pick<FederationClient, 'fetchJson' | 'fetchBytes'>;
  readonly policy: ServerPolicy;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly random: Random;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted when this server stops. */
  readonly stopping: AbortSignal;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

/** What changes of membership ask of it. */
export interface MembershipsElsewhere extends InviteElsewhere {
  readonly leave: LeaveElsewhere;
  readonly knock: KnockElsewhere;
  /** Servers in a room that the user is invited to, or stands to in another way, as far as they are known from that. */
  loadServers(userId: UserId, roomId: RoomId): Promise<readonly ServerName[]>;
}

export interface Elsewhere {
  readonly memberships: MembershipsElsewhere;
  readonly receivedInvites: ReceivedInvites;
  readonly endings: OutsideEndings;
  readonly laterLeaves: JobKind;
}

export function createElsewhere(options: ElsewhereOptions): Elsewhere {
  const standings = createOutsideStandings(options);
  const shared = {
    ...options,
    standings,
    handshakes: createRemoteHandshakes(options),
    remoteInvites: createRemoteInvites(options),
  };
  return {
    memberships: {
      ...createInviteElsewhere(shared),
      leave: createLeaveElsewhere(shared),
      knock: createKnockElsewhere(shared),
      loadServers: async (userId, roomId) => (await standings.load({ userId, roomId }, undefined))?.servers ?? [],
    },
    receivedInvites: createReceivedInvites(options),
    endings: createOutsideEndings(shared),
    laterLeaves: createLaterLeaves(shared),
  };
}
