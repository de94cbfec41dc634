/**
 * From a request for a room to the events that make it, in the order that the spec prescribes. Pure: the engine judges
 * the events by the auth rules and commits all of them or none.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom
 */
import type { EventTemplate } from '../engine/types.ts';
import { MatrixError } from '../protocol/errors.ts';
import { isUserId, type RoomAlias, type UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import { listedAliases } from './canonical-alias.ts';
import { checkPowerLevels } from './check-power-levels.ts';
import { defaultPowerLevels } from './default-power-levels.ts';
import type { Profile } from './profile.ts';

export type Preset = 'private_chat' | 'public_chat' | 'trusted_private_chat';

export interface InitialState {
  readonly type: string;
  readonly stateKey: string;
  readonly content: JsonObject;
}

export interface RoomCreationRequest {
  readonly version: RoomVersion;
  readonly preset: Preset;
  readonly creationContent: JsonObject;
  readonly powerLevelOverride?: JsonObject | undefined;
  readonly initialState: readonly InitialState[];
  readonly alias?: RoomAlias | undefined;
  readonly name?: string | undefined;
  readonly topic?: string | undefined;
  readonly invites: readonly UserId[];
  readonly isDirect: boolean;
}

export interface RoomCreationContext {
  readonly creator: UserId;
  readonly profiles: ReadonlyMap<UserId, Profile>;
}

export interface RoomCreation {
  /** Of `m.room.create`, without what the engine sets. */
  readonly creationContent: JsonObject;
  /** Everything after `m.room.create`. */
  readonly events: readonly EventTemplate[];
}

/** Bounds one commit, and how long deciding it may take. */
const MAX_EVENTS = 500;

export function createRoomCreation(request: RoomCreationRequest, context: RoomCreationContext): RoomCreation {
  const { creator } = context;
  const invites = [...new Set(request.invites)].filter((userId) => userId !== creator);
  const creationContent = planCreationContent(request, invites);
  const state = (type: string, content: JsonObject): EventTemplate => ({
    type,
    sender: creator,
    stateKey: '',
    content,
  });
  const events = [
    memberEvent(context, { target: creator, content: { membership: 'join' } }),
    state('m.room.power_levels', planPowerLevels(request, { creator, invites, creationContent })),
    ...(request.alias === undefined ? [] : [state('m.room.canonical_alias', { alias: request.alias })]),
    ...presetState(request).map(({ type, content }) => state(type, content)),
    ...initialState(request).map((initial) => ({ ...initial, sender: creator })),
    ...(request.name === undefined ? [] : [state('m.room.name', { name: request.name })]),
    ...(request.topic === undefined ? [] : [state('m.room.topic', topicContent(request.topic))]),
    ...invites.map((target) =>
      memberEvent(context, {
        target,
        content: { membership: 'invite', ...(request.isDirect && { is_direct: true }) },
      }),
    ),
  ];
  if (events.length > MAX_EVENTS)
    throw new MatrixError('M_INVALID_PARAM', `A room starts with ${MAX_EVENTS} events at most`);
  return { creationContent, events };
}

function memberEvent(
  { creator, profiles }: RoomCreationContext,
  { target, content }: { readonly target: UserId; readonly content: JsonObject },
): EventTemplate {
  return { type: 'm.room.member', sender: creator, stateKey: target, content: { ...content, ...profiles.get(target) } };
}

/** `creator` and `room_version` are the engine's; invitees of a trusted chat become creators where versions have several. */
function planCreationContent(request: RoomCreationRequest, invites: readonly UserId[]): JsonObject {
  const { creator: _creator, room_version: _version, ...content } = request.creationContent;
  if (!request.version.creatorsPrivileged) return content;
  const named = additionalCreators(content);
  const trusted = request.preset === 'trusted_private_chat' ? invites : [];
  const creators = [...new Set<string>([...named, ...trusted])];
  return creators.length === 0 ? content : { ...content, additional_creators: creators };
}

function additionalCreators(content: JsonObject): readonly string[] {
  const named = content['additional_creators'];
  if (named === undefined) return [];
  const userIds = Array.isArray(named) ? named.filter((userId) => typeof userId === 'string' && isUserId(userId)) : [];
  if (Array.isArray(named) && userIds.length === named.length) return userIds;
  throw new MatrixError('M_INVALID_PARAM', 'additional_creators has to be a list of user ids');
}

interface Creators {
  readonly creator: UserId;
  readonly invites: readonly UserId[];
  readonly creationContent: JsonObject;
}

function planPowerLevels(request: RoomCreationRequest, { creator, invites, creationContent }: Creators): JsonObject {
  const { version, preset } = request;
  const admins = preset === 'trusted_private_chat' ? [creator, ...invites] : [creator];
  const defaults = defaultPowerLevels(version, admins);
  // Among people who chose each other anybody may bring in one more.
  const levels = preset === 'public_chat' ? defaults : { ...defaults, invite: 0 };
  const content = { ...levels, ...request.powerLevelOverride };
  const creators = new Set<string>(version.creatorsPrivileged ? [creator, ...additionalCreators(creationContent)] : []);
  checkPowerLevels(content, (userId) => creators.has(userId));
  return content;
}

/** Guests are kept out of rooms without the state event: as it stands for nothing else, nobody sends it for that. */
const PRESETS: Readonly<Record<Preset, { readonly joinRule: string; readonly guestsCanJoin: boolean }>> = {
  private_chat: { joinRule: 'invite', guestsCanJoin: true },
  trusted_private_chat: { joinRule: 'invite', guestsCanJoin: true },
  public_chat: { joinRule: 'public', guestsCanJoin: false },
};

/** What the preset sets and the request does not set itself. */
function presetState({ preset, initialState }: RoomCreationRequest): readonly { type: string; content: JsonObject }[] {
  const { joinRule, guestsCanJoin } = PRESETS[preset];
  const events = [
    { type: 'm.room.join_rules', content: { join_rule: joinRule } },
    { type: 'm.room.history_visibility', content: { history_visibility: 'shared' } },
    ...(guestsCanJoin ? [{ type: 'm.room.guest_access', content: { guest_access: 'can_join' } }] : []),
  ];
  const given = new Set(initialState.filter(({ stateKey }) => stateKey === '').map(({ type }) => type));
  return events.filter(({ type }) => !given.has(type));
}

function initialState(request: RoomCreationRequest): readonly InitialState[] {
  const overwritten = new Set([
    ...(request.name === undefined ? [] : ['m.room.name']),
    ...(request.topic === undefined ? [] : ['m.room.topic']),
  ]);
  for (const { type, content } of request.initialState) {
    if (type === 'm.room.create' || type === 'm.room.member') {
      throw new MatrixError('M_INVALID_ROOM_STATE', `initial_state cannot have ${type}`);
    }
    if (type === 'm.room.canonical_alias' && listedAliases(content).some((alias) => alias !== request.alias)) {
      throw new MatrixError('M_BAD_ALIAS', 'The aliases in initial_state do not point to the room');
    }
  }
  return request.initialState.filter(({ type, stateKey }) => stateKey !== '' || !overwritten.has(type));
}

function topicContent(topic: string): JsonObject {
  return { topic, 'm.topic': { 'm.text': [{ body: topic }] } };
}
