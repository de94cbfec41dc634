/**
 * Setting state as a client asks for it: the same content twice makes one event, memberships go the way of the membership
 * endpoints, and what needs a look elsewhere (aliases, levels) is checked first.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import { membershipIn } from '../engine/room-snapshot.ts';
import type { EventTemplate, RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type EventId, parseUserId, type RoomId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { isCreator, readPowerLevels } from '../protocol/power-levels.ts';
import type { Database } from '../storage/database.ts';
import { loadAliases } from '../storage/room-directory.ts';
import { type Actor, notInRoom, requireJoined, requireNotSuspended } from './actor.ts';
import { addedAliases } from './canonical-alias.ts';
import { checkPowerLevels } from './check-power-levels.ts';
import type { Memberships } from './membership.ts';
import { isSameJson } from './same-json.ts';

export interface StateRequest {
  readonly roomId: RoomId;
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

export interface StateSetterOptions {
  readonly engine: Pick<RoomEngine, 'send' | 'loadSnapshot'>;
  readonly database: Database;
  readonly memberships: Pick<Memberships, 'set'>;
}

/** Answers with the id of the event that then is current. */
export type SetState = (actor: Actor, request: StateRequest) => Promise<EventId>;

export function createStateSetter(options: StateSetterOptions): SetState {
  const { engine, database, memberships } = options;
  return async (actor, request) => {
    if (request.type === 'm.room.member') return setMembership(memberships, actor, request);
    requireNotSuspended(actor);
    if (request.type === 'm.room.create') {
      throw new MatrixError('M_BAD_JSON', 'm.room.create is made with the room and never again');
    }
    const snapshot = await engine.loadSnapshot(request.roomId);
    if (snapshot === undefined) throw notInRoom();
    requireJoined(snapshot, actor.userId);
    if (request.type === 'm.room.canonical_alias') await requireOwnAliases(database, snapshot, request);
    return sendState(engine, actor, request);
  };
}

async function sendState(
  engine: StateSetterOptions['engine'],
  { userId }: Actor,
  { roomId, type, stateKey, content }: StateRequest,
): Promise<EventId> {
  const template: EventTemplate = { type, sender: userId, stateKey, content };
  let current: EventId | undefined;
  const [sent] = await engine.send({
    roomId,
    decide(snapshot) {
      requireJoined(snapshot, userId);
      if (type === 'm.room.power_levels') requireValidLevels(snapshot, content);
      const entry = snapshot.get(type, stateKey);
      current = entry?.sender === userId && isSameJson(entry.content, content) ? entry.eventId : undefined;
      return current === undefined ? [template] : [];
    },
  });
  const eventId = sent?.eventId ?? current;
  if (eventId === undefined) throw new Error('a state event was decided and none was sent');
  return eventId;
}

function requireValidLevels(snapshot: RoomSnapshot, content: JsonObject): void {
  const { version } = snapshot;
  const levels = readPowerLevels(snapshot, version);
  checkPowerLevels(content, (userId) => version.creatorsPrivileged && isCreator(levels, userId));
}

async function requireOwnAliases(database: Database, snapshot: RoomSnapshot, request: StateRequest): Promise<void> {
  if (request.stateKey !== '') return;
  const added = addedAliases(request.content, snapshot.get(request.type, '')?.content);
  if (added.length === 0) return;
  const targets = await loadAliases(database, added);
  const foreign = added.find((alias) => targets.get(alias)?.roomId !== request.roomId);
  if (foreign !== undefined) throw new MatrixError('M_BAD_ALIAS', `${foreign} does not point to this room`);
}

async function setMembership(
  memberships: StateSetterOptions['memberships'],
  actor: Actor,
  request: StateRequest,
): Promise<EventId> {
  const target = parseUserId(request.stateKey);
  if (target === undefined) throw new MatrixError('M_INVALID_PARAM', 'The state key has to be a user id');
  const { membership: _membership, ...content } = request.content;
  const membership = membershipIn(request.content);
  if (membership === undefined) throw new MatrixError('M_BAD_JSON', 'membership is not one that exists');
  return memberships.set(actor, { roomId: request.roomId, target, membership, content });
}
