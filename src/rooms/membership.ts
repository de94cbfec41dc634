/**
 * Joining, leaving, inviting, kicking, banning, knocking and forgetting, in rooms that this server is in. What other
 * rooms or the database know is gathered before the room's turn; the decision itself falls inside it. What concerns other
 * servers is asked of them (join-elsewhere.ts and its like).
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-membership
 */
import type { Membership, RoomSnapshot } from '../engine/room-snapshot.ts';
import type { EventTemplate, RoomEngine } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { markForgotten } from '../storage/memberships.ts';
import { deleteEndedOutside, loadOutside } from '../storage/outside-memberships.ts';
import { type Actor, notInRoom, requireJoined, requireNotSuspended } from './actor.ts';
import type { MembershipsElsewhere } from './elsewhere.ts';
import type { JoinElsewhere } from './join-elsewhere.ts';
import { changeMembership, decideJoin, decideKick, decideLeave, decideUnban } from './membership-changes.ts';
import { type LoadProfile, requireProfileFields } from './profile.ts';
import { allowedRooms, loadJoinedAmong, needsAuthoriser, selectAuthoriser } from './restricted-join.ts';

export interface MembershipOptions {
  readonly engine: Pick<RoomEngine, 'send' | 'loadSnapshot' | 'loadWhole' | 'loadSnapshots'>;
  readonly database: Database;
  readonly serverName: ServerName;
  readonly loadProfile: LoadProfile;
  /** Joins by way of other servers; undefined where there are none. */
  readonly joinElsewhere?: JoinElsewhere | undefined;
  /** Memberships that other servers have a say in; undefined where there are none. */
  readonly elsewhere?: Pick<MembershipsElsewhere, 'invite' | 'leave' | 'knock'> | undefined;
}

/** What all changes of a membership are given; `content` holds `reason` and whatever else the client put there. */
export interface MembershipRequest {
  readonly roomId: RoomId;
  readonly content: JsonObject;
}

export interface JoinRequest extends MembershipRequest {
  /** Servers that may be in the room, where this one is not. */
  readonly servers?: readonly ServerName[];
}

export interface TargetedRequest extends MembershipRequest {
  readonly target: UserId;
}

/** Each answers with the id of the member event that then is current. */
export interface Memberships {
  join(actor: Actor, request: JoinRequest): Promise<EventId>;
  knock(actor: Actor, request: JoinRequest): Promise<EventId>;
  leave(actor: Actor, request: MembershipRequest): Promise<EventId>;
  invite(actor: Actor, request: TargetedRequest): Promise<EventId>;
  kick(actor: Actor, request: TargetedRequest): Promise<EventId>;
  ban(actor: Actor, request: TargetedRequest): Promise<EventId>;
  unban(actor: Actor, request: TargetedRequest): Promise<EventId>;
  /** As `PUT /state/m.room.member` asks for it: the membership decides which of the others it is. */
  set(actor: Actor, request: TargetedRequest & { readonly membership: Membership }): Promise<EventId>;
  forget(actor: Actor, roomId: RoomId): Promise<void>;
}

export function createMemberships(options: MembershipOptions): Memberships {
  const memberships: Memberships = {
    join: (actor, request) => join(options, actor, request),
    knock: (actor, request) => knock(options, actor, request),
    leave: (actor, request) => leave(options, actor, request),
    invite: (actor, request) => invite(options, actor, request),
    kick: (actor, request) => changeOther(options, { actor, request, decide: decideKick }),
    unban: (actor, request) => changeOther(options, { actor, request, decide: decideUnban }),
    ban: (actor, request) =>
      changeOther(options, {
        actor,
        request,
        decide: (snapshot, ban) => changeMembership(snapshot, { ...ban, membership: 'ban' }),
      }),
    set: (actor, request) => set(memberships, options, { actor, request }),
    forget: (actor, roomId) => forget(options, actor, roomId),
  };
  return memberships;
}

async function join(
  options: MembershipOptions,
  actor: Actor,
  { roomId, content, servers = [] }: JoinRequest,
): Promise<EventId> {
  requireNotSuspended(actor);
  requireProfileFields(content);
  const joined = await options.joinElsewhere?.(actor, { roomId, content, servers });
  return joined ?? joinHere(options, actor, { roomId, content });
}

async function joinHere(
  options: MembershipOptions,
  { userId, isGuest }: Actor,
  { roomId, content }: MembershipRequest,
): Promise<EventId> {
  const { engine, serverName } = options;
  const snapshot = await loadRoom(engine, roomId);
  const asked = needsAuthoriser(snapshot, userId) ? allowedRooms(snapshot) : [];
  const [joined, profile] = await Promise.all([loadJoinedAmong(engine, asked, userId), options.loadProfile(userId)]);
  const authoriser = (current: RoomSnapshot): UserId | undefined => {
    const isAllowed = needsAuthoriser(current, userId) && allowedRooms(current).some((id) => joined.has(id));
    return isAllowed ? selectAuthoriser(current, serverName) : undefined;
  };
  const attempt = { userId, isGuest, content, profile, authoriser };
  return change(engine, { roomId, target: userId }, (current) => decideJoin(current, attempt));
}

async function knock(options: MembershipOptions, actor: Actor, request: JoinRequest): Promise<EventId> {
  requireNotSuspended(actor);
  // By a state event, which they may send; the endpoint for knocking is closed to them.
  if (actor.isGuest) throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests cannot knock');
  requireProfileFields(request.content);
  const content = { ...(await options.loadProfile(actor.userId)), ...request.content };
  const { roomId, servers = [] } = request;
  const knocked = await options.elsewhere?.knock(actor, { roomId, content, servers });
  if (knocked !== undefined) return knocked;
  await loadRoom(options.engine, roomId);
  const target = actor.userId;
  return change(options.engine, { roomId, target }, (snapshot) =>
    changeMembership(snapshot, { sender: target, target, membership: 'knock', content }),
  );
}

async function leave(
  { engine, elsewhere }: MembershipOptions,
  { userId }: Actor,
  { roomId, content }: MembershipRequest,
): Promise<EventId> {
  const left = await elsewhere?.leave({ userId }, { roomId, content });
  if (left !== undefined) return left;
  if ((await engine.loadSnapshot(roomId)) === undefined) throw notInRoom();
  return change(engine, { roomId, target: userId }, (snapshot) => decideLeave(snapshot, { sender: userId, content }));
}

async function invite(options: MembershipOptions, actor: Actor, request: TargetedRequest): Promise<EventId> {
  if (serverNameOf(request.target) !== options.serverName) return inviteOther(options, actor, request);
  const content = { ...request.content, ...(await options.loadProfile(request.target)) };
  return changeOther(options, {
    actor,
    request: { ...request, content },
    decide: (snapshot, invited) => changeMembership(snapshot, { ...invited, membership: 'invite' }),
  });
}

/** A user of another server, whose profile that server shows. */
async function inviteOther(options: MembershipOptions, actor: Actor, request: TargetedRequest): Promise<EventId> {
  const { engine, elsewhere } = options;
  const { roomId, target, content } = request;
  requireNotSuspended(actor);
  if (elsewhere === undefined) throw doesNotFederate();
  const snapshot = await loadForOthers(engine, roomId, actor.userId);
  const change = { sender: actor.userId, target, membership: 'invite', content } as const;
  const [template] = changeMembership(snapshot, change);
  const current = snapshot.get('m.room.member', target)?.eventId;
  if (template === undefined && current !== undefined) return current;
  if (template === undefined) throw new Error('a membership that needed no event has none');
  return elsewhere.invite(snapshot, template);
}

/** An invite that its user could never learn of is better refused. */
export function doesNotFederate(): MatrixError {
  return new MatrixError('M_FORBIDDEN', 'Users of other servers cannot be invited: this server does not federate');
}

/** What others are in the room is to be known before anything is done to them. */
async function loadForOthers(
  engine: Pick<RoomEngine, 'loadSnapshot' | 'loadWhole'>,
  roomId: RoomId,
  sender: UserId,
): Promise<RoomSnapshot> {
  const known = await engine.loadSnapshot(roomId);
  if (known === undefined) throw notInRoom();
  requireJoined(known, sender);
  const snapshot = known.isPartial ? await engine.loadWhole(roomId) : known;
  if (snapshot === undefined) throw notInRoom();
  return snapshot;
}

interface OtherChange {
  readonly actor: Actor;
  readonly request: TargetedRequest;
  readonly decide: (
    snapshot: RoomSnapshot,
    change: { readonly sender: UserId; readonly target: UserId; readonly content: JsonObject },
  ) => readonly EventTemplate[];
}

/** What members do to others: who is not in the room gets no hint whether it exists. */
async function changeOther({ engine }: MembershipOptions, { actor, request, decide }: OtherChange): Promise<EventId> {
  requireNotSuspended(actor);
  const { target, content } = request;
  const sender = actor.userId;
  await loadForOthers(engine, request.roomId, sender);
  return change(engine, request, (snapshot) => {
    requireJoined(snapshot, sender);
    return decide(snapshot, { sender, target, content });
  });
}

interface SetMembership {
  readonly actor: Actor;
  readonly request: TargetedRequest & { readonly membership: Membership };
}

async function set(
  memberships: Memberships,
  options: MembershipOptions,
  { actor, request }: SetMembership,
): Promise<EventId> {
  const { roomId, target, membership, content } = request;
  const isSelf = target === actor.userId;
  if (membership === 'invite') return memberships.invite(actor, request);
  if (membership === 'ban') return memberships.ban(actor, request);
  if (membership === 'leave') {
    return isSelf
      ? memberships.leave(actor, { roomId, content })
      : changeOther(options, { actor, request, decide: decideRemoval });
  }
  if (!isSelf) throw new MatrixError('M_FORBIDDEN', 'Nobody can do this for another user');
  return membership === 'join' ? memberships.join(actor, request) : memberships.knock(actor, request);
}

/** One event for kick and unban: which it is, the current membership says. */
const decideRemoval: OtherChange['decide'] = (snapshot, removal) =>
  snapshot.membershipOf(removal.target) === 'ban' ? decideUnban(snapshot, removal) : decideKick(snapshot, removal);

async function forget({ engine, database }: MembershipOptions, { userId }: Actor, roomId: RoomId): Promise<void> {
  const membership = (await engine.loadSnapshot(roomId))?.membershipOf(userId);
  if (membership === 'join' || membership === 'invite' || membership === 'knock') {
    throw stillThere();
  }
  const outside = await loadOutside(database, { userId, roomId });
  if (outside?.membership === 'invite' || outside?.membership === 'knock') throw stillThere();
  await Promise.all([markForgotten(database, { roomId, userId }), deleteEndedOutside(database, { roomId, userId })]);
}

function stillThere(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'You have to leave the room before you can forget it', { status: 400 });
}

type Engine = MembershipOptions['engine'];

async function loadRoom(engine: Engine, roomId: RoomId): Promise<RoomSnapshot> {
  const snapshot = await engine.loadSnapshot(roomId);
  if (snapshot === undefined) throw new MatrixError('M_NOT_FOUND', 'The room is not known to this server');
  return snapshot;
}

/** Sends what is decided, and answers with the member event that then is current. */
async function change(
  engine: Engine,
  { roomId, target }: { readonly roomId: RoomId; readonly target: UserId },
  decide: (snapshot: RoomSnapshot) => readonly EventTemplate[],
): Promise<EventId> {
  let current: EventId | undefined;
  const [sent] = await engine.send({
    roomId,
    decide(snapshot) {
      current = snapshot.get('m.room.member', target)?.eventId;
      return decide(snapshot);
    },
  });
  const eventId = sent?.eventId ?? current;
  if (eventId === undefined) throw new Error('a membership that needed no event has none');
  return eventId;
}
