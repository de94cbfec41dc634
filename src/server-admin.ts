/**
 * The part of the composition root that administers: users, rooms, jobs, server notices, the audit log. Made after the
 * features that it works on, and closed before them.
 */
import type { AccountData } from './accounts/account-data.ts';
import type { Accounts } from './accounts/accounts.ts';
import { createAdminUsers } from './accounts/admin-users.ts';
import { createAuditLog } from './accounts/audit.ts';
import { createDeactivation, createDeactivationKind, DEACTIVATE, type Deactivation } from './accounts/deactivation.ts';
import { createRegistrationTokenAdmin } from './accounts/registration-token-admin.ts';
import { type AdminApiOptions, adminApiEndpoints } from './api/admin/admin-api.ts';
import { clientAdminEndpoints } from './api/client/admin.ts';
import type { RoomEngine } from './engine/types.ts';
import type { Endpoint } from './http/endpoint.ts';
import { createJobs, type JobKind } from './jobs/job-runner.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { Random } from './lib/random.ts';
import { createMediaModeration, createRoomQuarantineKind, QUARANTINE_ROOM } from './media/media-moderation.ts';
import type { RoomId, ServerName, UserId } from './protocol/ids.ts';
import { isJsonObject } from './protocol/json-value.ts';
import type { SigningKey } from './protocol/signing.ts';
import { followAbandonedRooms } from './rooms/abandoned-rooms.ts';
import { createAdminRooms } from './rooms/admin-rooms.ts';
import { createBlockedRooms, withBlockedRooms } from './rooms/blocked-rooms.ts';
import { createRoomDeletion, createRoomDeletionKinds } from './rooms/delete-room.ts';
import { createGuestEvictionKind, EVICT_GUESTS, followGuestAccess } from './rooms/guest-access.ts';
import { LEAVE_ELSEWHERE } from './rooms/later-leaves.ts';
import { createPduMaker } from './rooms/make-pdu.ts';
import { createMakeRoomAdmin } from './rooms/make-room-admin.ts';
import type { LoadProfile } from './rooms/profile.ts';
import {
  createProfilePropagation,
  createProfilePropagationKind,
  PROPAGATE_PROFILE,
  type ProfilePropagation,
} from './rooms/profile-propagation.ts';
import { createUserRedaction } from './rooms/redact-user.ts';
import { createReportAdmin } from './rooms/report-admin.ts';
import type { Rooms } from './rooms/rooms.ts';
import { createServerNotices, withServerNotices } from './rooms/server-notices.ts';
import { createServerStatistics } from './rooms/server-statistics.ts';
import { withInvitePermissions } from './rooms/willing-invitees.ts';
import type { Database } from './storage/database.ts';
import type { Hub } from './streams/hub.ts';

export interface AdministrationOptions
  extends Pick<AdminApiOptions, 'build' | 'startedAt' | 'isReady' | 'reloadConfig' | 'media' | 'federation'> {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly engine: RoomEngine;
  readonly hub: Hub;
  readonly committer: { readonly position: number };
  readonly rooms: Rooms;
  readonly accounts: Accounts;
  readonly accountData: AccountData;
  readonly forgetTokens: (accountId: number) => void;
  readonly loadProfile: LoadProfile;
  readonly onRoomForcedOut: () => void;
  readonly settleSending: () => Promise<void>;
  /** Tells other servers of rejected invites that they could not be told of at once. */
  readonly laterLeaves: JobKind;
  /** Whether a localpart belongs to the server itself or to an application service. */
  readonly isReserved: (localpart: string) => boolean;
}

export interface Administration extends AsyncDisposable {
  readonly endpoints: readonly Endpoint[];
  /** The rooms as clients use them: blocked ones are closed, and nobody leaves the room of server notices unread. */
  readonly clientRooms: Rooms;
  readonly deactivation: Deactivation;
  readonly profilePropagation: ProfilePropagation;
}

export async function createAdministration(options: AdministrationOptions): Promise<Administration> {
  const { database, accounts, serverName, forgetTokens, committer } = options;
  const notices = createServerNotices({ ...options, tagRoom: (userId, roomId) => tagNotices(options, userId, roomId) });
  const jobs = createJobs({ ...options, kinds: createKinds(options) });
  await jobs.start();
  const following = new DisposableStack();
  following.use(await followAbandonedRooms({ ...options, jobs }));
  following.use(await followGuestAccess({ ...options, jobs }));
  const deactivation = createDeactivation({ database, jobs, getPosition: () => committer.position, forgetTokens });
  const users = createAdminUsers({
    ...options,
    sessions: accounts.sessions,
    hashPassword: accounts.hashPassword,
  });
  const blockedRooms = createBlockedRooms(options);
  const audit = createAuditLog(options);
  const endpoints = adminApiEndpoints({
    ...options,
    blockedRooms,
    jobs,
    users,
    makePdu: createPduMaker(options),
    deleteRoom: createRoomDeletion({ database, jobs }),
    adminRooms: createAdminRooms(options),
    makeRoomAdmin: createMakeRoomAdmin(options),
    reports: createReportAdmin(options),
    statistics: createServerStatistics(database),
    deactivation,
    mediaModeration: createMediaModeration({ database, serverName, jobs }),
    registrationTokens: createRegistrationTokenAdmin(options),
    audit,
    notices,
  });
  return {
    endpoints: [...endpoints, ...clientAdminEndpoints({ users, serverName, audit })],
    clientRooms: withInvitePermissions(withBlockedRooms(withServerNotices(options.rooms, notices), blockedRooms)),
    deactivation,
    profilePropagation: createProfilePropagation(jobs),
    async [Symbol.asyncDispose]() {
      following[Symbol.dispose]();
      await jobs[Symbol.asyncDispose]();
    },
  };
}

function createKinds(options: AdministrationOptions): Readonly<Record<string, JobKind>> {
  const leaveRoom = (userId: UserId, roomId: RoomId): Promise<unknown> => {
    const actor = { userId, deviceId: '', isGuest: false, isSuspended: false };
    return options.rooms.memberships.leave(actor, { roomId, content: {} });
  };
  return {
    ...createRoomDeletionKinds({ ...options, leaveRoom, onForced: options.onRoomForcedOut }),
    [LEAVE_ELSEWHERE]: options.laterLeaves,
    [QUARANTINE_ROOM]: createRoomQuarantineKind(options.database),
    [DEACTIVATE]: createDeactivationKind({
      database: options.database,
      devices: options.accounts.devices,
      redactSome: createUserRedaction(options),
      leaveRoom,
      onLeaveFailed: (cause, roomId) => options.logger.warn({ cause, roomId }, 'a deactivated user could not leave'),
    }),
    [EVICT_GUESTS]: createGuestEvictionKind(options),
    [PROPAGATE_PROFILE]: createProfilePropagationKind({
      ...options,
      onFailed: (cause, roomId) => options.logger.warn({ cause, roomId }, 'could not show a new profile in a room'),
    }),
  };
}

/** https://spec.matrix.org/v1.19/client-server-api/#server-notices */
function tagNotices({ accountData }: AdministrationOptions, userId: UserId, roomId: RoomId): Promise<void> {
  return accountData.update({ userId, roomId, type: 'm.tag' }, (content) => {
    const tags = isJsonObject(content?.['tags']) ? content['tags'] : {};
    return { ...content, tags: { ...tags, 'm.server_notice': {} } };
  });
}
