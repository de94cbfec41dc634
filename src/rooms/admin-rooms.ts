/**
 * What administrators see of rooms: lists, figures and members, whether they are in them or not. No messages.
 */
import type { RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import {
  listRoomSummaries,
  loadRoomFigures,
  loadStatistics,
  type RoomSummary,
  type RoomsWanted,
  type Statistics,
} from '../storage/admin-rooms.ts';
import type { Database } from '../storage/database.ts';

export interface AdminRoomsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly serverName: string;
}

export interface AdminRooms {
  list(wanted: Omit<RoomsWanted, 'serverName'>): Promise<readonly RoomSummary[]>;
  loadDetails(roomId: RoomId): Promise<object>;
  loadMembers(roomId: RoomId): Promise<{ readonly members: readonly Member[] }>;
  loadStatistics(): Promise<Statistics>;
}

interface Member {
  readonly user_id: string;
  readonly membership: JsonValue | undefined;
  readonly displayname: JsonValue | undefined;
}

export function createAdminRooms({ engine, database, serverName }: AdminRoomsOptions): AdminRooms {
  return {
    list: (wanted) => listRoomSummaries(database, { ...wanted, serverName }),
    async loadDetails(roomId) {
      const [figures, snapshot] = await Promise.all([loadRoomFigures(database, roomId), engine.loadSnapshot(roomId)]);
      if (figures === undefined || snapshot === undefined) throw unknownRoom();
      const textOf = (type: string, key: string): JsonValue | undefined => snapshot.get(type, '')?.content[key];
      return {
        ...figures,
        name: textOf('m.room.name', 'name'),
        topic: textOf('m.room.topic', 'topic'),
        canonical_alias: textOf('m.room.canonical_alias', 'alias'),
        join_rule: textOf('m.room.join_rules', 'join_rule'),
        history_visibility: textOf('m.room.history_visibility', 'history_visibility'),
        encryption: textOf('m.room.encryption', 'algorithm'),
        room_type: textOf('m.room.create', 'type'),
        joined_members: snapshot.joinedCount,
        invited_members: snapshot.invitedCount,
        forward_extremities: snapshot.parts.extremities.length,
      };
    },
    async loadMembers(roomId) {
      const snapshot = await engine.loadSnapshot(roomId);
      if (snapshot === undefined) throw unknownRoom();
      const members = Array.from(snapshot.members(), ({ stateKey, content }) => ({
        user_id: stateKey,
        membership: content['membership'],
        displayname: content['displayname'],
      }));
      return { members: members.sort((a, b) => (a.user_id < b.user_id ? -1 : 1)) };
    },
    loadStatistics: () => loadStatistics(database),
  };
}

function unknownRoom(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'The room is not known to this server');
}
