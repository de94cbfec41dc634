/**
 * Creates rooms: checks what only the database knows, plans the events, and has the engine commit them together with the
 * room's alias and its place in the directory.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
 */
import type { CreateRoomRequest, RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type RoomAlias, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { insertAlias, isAliasTaken, loadAliases } from '../storage/room-directory.ts';
import { type Actor, requireNotSuspended } from './actor.ts';
import type { MembershipsElsewhere } from './elsewhere.ts';
import { doesNotFederate } from './membership.ts';
import type { LoadProfile, Profile } from './profile.ts';
import { createRoomCreation, type RoomCreationRequest } from './room-creation.ts';

export interface RoomCreatorOptions {
  readonly engine: Pick<RoomEngine, 'createRoom'>;
  readonly database: Database;
  readonly clock: Clock;
  readonly loadProfile: LoadProfile;
  readonly serverName: ServerName;
  /** Has the servers of those who are invited sign; undefined where there are none. */
  readonly elsewhere?: Pick<MembershipsElsewhere, 'cosign'> | undefined;
}

export interface NewRoomRequest extends RoomCreationRequest {
  readonly isPublished: boolean;
}

export type CreateRoom = (creator: Actor, request: NewRoomRequest) => Promise<RoomId>;

export function createRoomCreator(options: RoomCreatorOptions): CreateRoom {
  const { engine, database, clock, elsewhere, serverName } = options;
  return async (creator, request) => {
    requireNotSuspended(creator);
    const invitesOthers = request.invites.some((userId) => serverNameOf(userId) !== serverName);
    if (invitesOthers && elsewhere === undefined) throw doesNotFederate();
    if (request.alias !== undefined) await requireFreeAlias(database, request.alias);
    const profiles = await loadProfiles(options.loadProfile, [creator.userId, ...request.invites]);
    const plan = createRoomCreation(request, { creator: creator.userId, profiles });
    // What failed first is known here only: every later statement of the transaction fails too.
    let isTaken = false;
    const claimAlias = async (tx: Transaction, roomId: RoomId): Promise<void> => {
      const { alias } = request;
      if (alias === undefined) return;
      isTaken = false;
      try {
        await insertAlias(tx, { alias, roomId, creator: creator.userId, createdAt: clock.now() });
      } catch (cause) {
        isTaken = isAliasTaken(cause);
        throw cause;
      }
    };
    let refusal: unknown;
    const cosign: CreateRoomRequest['cosign'] = async (events) => {
      try {
        return (await elsewhere?.cosign(events, request.version)) ?? new Map();
      } catch (cause) {
        refusal = cause;
        throw cause;
      }
    };
    try {
      const snapshot = await engine.createRoom({
        version: request.version,
        creator: creator.userId,
        creationContent: plan.creationContent,
        events: () => plan.events,
        isPublic: request.isPublished,
        also: claimAlias,
        cosign: invitesOthers ? cosign : undefined,
      });
      return snapshot.roomId;
    } catch (cause) {
      if (isTaken) throw aliasInUse();
      throw cause === refusal ? cause : asInvalidState(cause);
    }
  };
}

async function requireFreeAlias(database: Database, alias: RoomAlias): Promise<void> {
  const taken = await loadAliases(database, [alias]);
  if (taken.size > 0) throw aliasInUse();
}

function aliasInUse(): MatrixError {
  return new MatrixError('M_ROOM_IN_USE', 'The room alias is taken');
}

async function loadProfiles(load: LoadProfile, userIds: readonly UserId[]): Promise<ReadonlyMap<UserId, Profile>> {
  const profiles = await Promise.all(
    userIds.map(async (userId): Promise<[UserId, Profile]> => [userId, await load(userId)]),
  );
  return new Map(profiles);
}

/** What the auth rules refuse in a room that does not exist yet is a fault of the request's initial state. */
function asInvalidState(cause: unknown): unknown {
  if (!(cause instanceof MatrixError) || cause.errcode !== 'M_FORBIDDEN') return cause;
  return new MatrixError('M_INVALID_ROOM_STATE', cause.message, { cause });
}
