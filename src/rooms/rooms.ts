/**
 * Wires the room features over one engine: what the client API of rooms is made from.
 */
import type { Backfiller } from '../engine/backfill.ts';
import type { RoomEngine } from '../engine/types.ts';
import { createVisibility } from '../engine/visible-events.ts';
import type { RemoteDirectory } from '../federation/remote-directory.ts';
import type { RemoteJoins } from '../federation/remote-join.ts';
import type { RemoteReading } from '../federation/remote-reading.ts';
import type { Clock } from '../lib/clock.ts';
import type { RoomId, ServerName, UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { listRoomAccountData } from '../storage/account-data.ts';
import type { Database } from '../storage/database.ts';
import type { Hub } from '../streams/hub.ts';
import { type Aggregations, createAggregations } from './aggregations.ts';
import { type Aliases, createAliases } from './aliases.ts';
import { type CreateRoom, createRoomCreator } from './create-room.ts';
import type { MembershipsElsewhere } from './elsewhere.ts';
import { createEventAtTime, type LoadEventAtTime } from './event-at-time.ts';
import { createEventReading, type EventReading } from './event-context.ts';
import { createGaps } from './gaps.ts';
import { createHistory, type History } from './history.ts';
import type { IgnoredUsers } from './ignored-users.ts';
import { createJoinElsewhere } from './join-elsewhere.ts';
import { createMemberships, type Memberships } from './membership.ts';
import { createMutualRooms, type LoadMutualRooms } from './mutual-rooms.ts';
import { createPeeking, type Peek } from './peeking.ts';
import type { LoadProfile } from './profile.ts';
import { createRelations, type Relations } from './relations.ts';
import { createRemoteSummaries } from './remote-summaries.ts';
import { createReports, type Reports } from './reports.ts';
import { createRoomAccess, type RoomAccess } from './room-access.ts';
import { createRoomMembers, type RoomMembers } from './room-members.ts';
import { createRoomSummaries, type LoadRoomSummary } from './room-summary.ts';
import { createSearch, type SearchRooms } from './search.ts';
import type { SearchIndex } from './search-index.ts';
import { createEventSender, type EventSender } from './send-event.ts';
import { createServedHierarchy, type LoadServedHierarchy } from './served-hierarchy.ts';
import { createStateSetter, type SetState } from './set-state.ts';
import { createHierarchy, type LoadHierarchy } from './space-hierarchy.ts';
import { createTimeElsewhere } from './time-elsewhere.ts';
import { createRoomUpgrader, type RoomUpgraderOptions, type UpgradeRoom } from './upgrade-room.ts';
import { withPredecessors, withTombstones } from './upgrade-settings.ts';
import { createUserDirectory, type SearchUsers } from './user-directory.ts';

/** What a user keeps about a room. */
type LoadRoomAccountData = (
  userId: UserId,
  roomId: RoomId,
) => Promise<readonly { readonly type: string; readonly content: JsonObject }[]>;

export interface RoomsOptions {
  readonly engine: RoomEngine;
  readonly database: Database;
  readonly clock: Clock;
  readonly serverName: ServerName;
  readonly writerId: number;
  readonly defaultVersion: RoomVersion;
  readonly loadProfile: LoadProfile;
  readonly isAdmin: (userId: UserId) => Promise<boolean>;
  readonly copyPersonalSettings: RoomUpgraderOptions['copyPersonalSettings'];
  /** The directories of other servers. */
  readonly remoteDirectory?: RemoteDirectory;
  /** Fetches history from other servers. */
  readonly backfiller?: Backfiller;
  /** Asks them about rooms. */
  readonly remoteReading?: RemoteReading;
  /** Joins by way of other servers. */
  readonly remoteJoins?: RemoteJoins;
  /** Memberships that other servers have a say in. */
  readonly elsewhere?: MembershipsElsewhere;
  readonly searchIndex: SearchIndex;
  readonly ignoredUsers: IgnoredUsers;
  readonly hub: Hub;
}

export interface Rooms {
  readonly clock: Clock;
  readonly database: Database;
  readonly serverName: ServerName;
  /** Whose positions the pagination tokens name. */
  readonly writerId: number;
  readonly defaultVersion: RoomVersion;
  readonly create: CreateRoom;
  readonly memberships: Memberships;
  readonly sender: EventSender;
  readonly setState: SetState;
  readonly aliases: Aliases;
  readonly access: RoomAccess;
  readonly members: RoomMembers;
  readonly history: History;
  readonly events: EventReading;
  readonly loadEventAtTime: LoadEventAtTime;
  readonly relations: Relations;
  readonly aggregations: Aggregations;
  readonly loadSummary: LoadRoomSummary;
  readonly loadHierarchy: LoadHierarchy;
  readonly loadServedHierarchy: LoadServedHierarchy;
  readonly reports: Reports;
  readonly peek: Peek;
  readonly loadRoomAccountData: LoadRoomAccountData;
  readonly loadMutualRooms: LoadMutualRooms;
  readonly search: SearchRooms;
  readonly searchUsers: SearchUsers;
  readonly upgrade: UpgradeRoom;
  readonly remoteDirectory: RemoteDirectory | undefined;
}

export function createRooms(options: RoomsOptions): Rooms {
  const { engine, database, clock, serverName, writerId, defaultVersion, ignoredUsers } = options;
  const { remoteJoins } = options;
  const shared = {
    ...options,
    joinElsewhere:
      remoteJoins &&
      createJoinElsewhere({ ...options, remoteJoins, loadInviteServers: options.elsewhere?.loadServers }),
  };
  const access = createRoomAccess({ engine, database });
  const visibility = createVisibility({ engine, database });
  const { backfiller, remoteReading: remote } = options;
  const gaps = createGaps({ database, clock, backfill: backfiller?.backfill });
  const remoteSummaries = remote && createRemoteSummaries({ remote, clock, serverName });
  const findElsewhere =
    remote && backfiller && createTimeElsewhere({ database, serverName, remote, takeEvent: backfiller.takeEvent });
  const events = createEventReading({ engine, access, visibility, ignoredUsers, gaps });
  const memberships = withPredecessors(createMemberships(shared), options);
  const history = createHistory({ engine, access, visibility, ignoredUsers, gaps });
  return {
    clock,
    database,
    serverName,
    writerId,
    defaultVersion,
    create: createRoomCreator(shared),
    memberships,
    sender: createEventSender(engine),
    setState: withTombstones(createStateSetter({ engine, database, memberships }), options),
    aliases: createAliases({
      ...options,
      ...(options.remoteDirectory && { fetchRemoteAlias: options.remoteDirectory.fetchAlias }),
    }),
    remoteDirectory: options.remoteDirectory,
    access,
    members: createRoomMembers({ engine, access, database }),
    history,
    events,
    loadEventAtTime: createEventAtTime({ engine, database, access, visibility, findElsewhere }),
    relations: createRelations({ engine, database, access, visibility, events, ignoredUsers }),
    aggregations: createAggregations({ engine, database, visibility, ignoredUsers }),
    loadSummary: createRoomSummaries({ engine, serverName, remoteSummaries }),
    loadHierarchy: createHierarchy({ engine, serverName, remoteSummaries }),
    loadServedHierarchy: createServedHierarchy(options),
    reports: createReports({ engine, database, visibility, clock, serverName }),
    peek: createPeeking({ engine, access, history, hub: options.hub, clock }),
    loadRoomAccountData: (userId, roomId) => listRoomAccountData(database, userId, roomId),
    loadMutualRooms: createMutualRooms(database),
    search: createSearch({ engine, database, visibility, index: options.searchIndex, ignoredUsers }),
    searchUsers: createUserDirectory({ database, serverName }),
    upgrade: createRoomUpgrader(options),
  };
}
