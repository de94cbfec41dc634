/**
 * What administrators see of rooms: lists, figures and members, whether they are in them or not. No messages.
 */
import type { RoomSnapshot, StateEntry } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import { isBlockedRoom } from '../storage/blocked-rooms.ts';
import type { Database } from '../storage/database.ts';
import {
  countRooms,
  listRoomsByFigure,
  listRoomsByName,
  listUncountedRooms,
  loadRoomFigures,
  type RoomSummary,
  type RoomsByFigure,
  type RoomsByName,
} from '../storage/room-statistics.ts';

export interface AdminRoomsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly serverName: string;
}

export interface AdminRooms {
  listByFigure(wanted: RoomsByFigure): Promise<readonly RoomSummary[]>;
  listByName(wanted: RoomsByName): ReturnType<typeof listRoomsByName>;
  loadDetails(roomId: RoomId): Promise<object>;
  /** By user id, those after the given one. */
  loadMembers(roomId: RoomId, wanted: MembersWanted): Promise<readonly Member[]>;
}

export interface MembersWanted {
  readonly after: string;
  readonly limit: number;
  readonly membership: string | undefined;
}

export interface Member {
  readonly user_id: string;
  readonly membership: JsonValue | undefined;
  readonly displayname: JsonValue | undefined;
}

const ROOMS_PER_COUNT = 200;
/** Of one request: what a server counts for the first time is counted in several. */
const MAX_COUNTS = 25;

export function createAdminRooms({ engine, database, serverName }: AdminRoomsOptions): AdminRooms {
  const countNews = async (): Promise<void> => {
    for (let round = 0; round < MAX_COUNTS; round++) {
      const roomIds = await listUncountedRooms(database, ROOMS_PER_COUNT);
      if (roomIds.length > 0) await countRooms(database, { roomIds, serverName });
      if (roomIds.length < ROOMS_PER_COUNT) return;
    }
  };
  return {
    async listByFigure(wanted) {
      await countNews();
      return listRoomsByFigure(database, wanted);
    },
    async listByName(wanted) {
      await countNews();
      return listRoomsByName(database, wanted);
    },
    async loadDetails(roomId) {
      const snapshot = await engine.loadSnapshot(roomId);
      await countRooms(database, { roomIds: [roomId], serverName });
      const [figures, isBlocked] = await Promise.all([
        loadRoomFigures(database, roomId),
        isBlockedRoom(database, roomId),
      ]);
      if (figures === undefined || snapshot === undefined) throw unknownRoom();
      return { ...figures, ...describe(snapshot), blocked: isBlocked };
    },
    async loadMembers(roomId, { after, limit, membership }) {
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot === undefined) throw unknownRoom();
      const isWanted = ({ stateKey, content }: StateEntry): boolean =>
        stateKey > after && (membership === undefined || content['membership'] === membership);
      const members = [...snapshot.members()].filter(isWanted);
      members.sort((a, b) => (a.stateKey < b.stateKey ? -1 : 1));
      return members.slice(0, limit).map(({ stateKey, content }) => ({
        user_id: stateKey,
        membership: content['membership'],
        displayname: content['displayname'],
      }));
    },
  };
}

function describe(snapshot: RoomSnapshot): object {
  const contentOf = (type: string, key: string): JsonValue | undefined => snapshot.get(type, '')?.content[key];
  return {
    name: contentOf('m.room.name', 'name'),
    topic: contentOf('m.room.topic', 'topic'),
    canonical_alias: contentOf('m.room.canonical_alias', 'alias'),
    join_rule: contentOf('m.room.join_rules', 'join_rule'),
    history_visibility: contentOf('m.room.history_visibility', 'history_visibility'),
    guest_access: contentOf('m.room.guest_access', 'guest_access'),
    encryption: contentOf('m.room.encryption', 'algorithm'),
    room_type: contentOf('m.room.create', 'type'),
    federatable: contentOf('m.room.create', 'm.federate') !== false,
    joined_members: snapshot.joinedCount,
    invited_members: snapshot.invitedCount,
    forward_extremities: snapshot.parts.extremities.length,
  };
}

function unknownRoom(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'The room is not known to this server');
}
