/**
 * The authorization rules of every room version: whether an event is allowed by a given state, and whether the auth
 * events that it names are the right ones. Pure and total: any JSON gives a verdict, nothing throws. What differs
 * between versions is read from the flags of `RoomVersion`; step numbers in comments are those of v12.
 *
 * Signatures and hashes are checked before, when an event is received. Redactions from v3 on are allowed like any other
 * event and judged when they are applied.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
 */
import { type AuthContext, domainOf, makeAuthContext, membershipOf } from './auth-context.ts';
import { checkCreate } from './auth-create.ts';
import { listAuthTypes } from './auth-events.ts';
import { checkMember } from './auth-member.ts';
import { allowBy, type Decision, rejectBy, toVerdict } from './auth-rule-table.ts';
import type { Event, StateEvent, StateView } from './pdu.ts';
import { hasLevel, requiredLevel, userLevel } from './power-levels.ts';
import { checkPowerLevelsChange } from './power-levels-change.ts';
import type { RoomVersion } from './room-version.ts';
import { ALLOWED, type Verdict } from './verdict.ts';

/** What is known of the room beyond the auth events themselves. */
export interface AuthEventsRoom {
  readonly version: RoomVersion;
  /** Whether an event failed the checks on receipt; in v12 asked about the create event too. */
  readonly isRejected: (eventId: string) => boolean;
}

/** Judges `event` against `state`: the rules but for those about its auth events. */
export function checkAuth(event: Event, state: StateView, version: RoomVersion): Verdict {
  return toVerdict(decideAuth(event, state, version), version);
}

/** As `checkAuth`, naming the rule also where it allows. */
export function decideAuth(event: Event, state: StateView, version: RoomVersion): Decision {
  // 1
  if (event.type === 'm.room.create') return checkCreate(event, version);
  // 2; before v12 the create event is demanded of the auth events, and so of any state
  const create = state.get('m.room.create', '');
  if (create === undefined) return rejectBy(version.roomIdFromCreate ? 'roomId' : 'authEvents.noCreate');
  if (version.roomIdFromCreate && event.roomId !== `!${create.eventId.slice(1)}`) return rejectBy('roomId');
  // 4
  if (!isLetInByFederation(event, create)) return rejectBy('federate');
  // v1 to v5: 4
  if (event.type === 'm.room.aliases' && version.aliasesRule) return checkAliases(event);
  const context = makeAuthContext(event, state, { version, create });
  // 5
  if (event.type === 'm.room.member') return checkMember(context);
  return checkOther(context);
}

/** Judges the auth events that `event` names; `authEvents` are those events, looked up. */
export function checkAuthEvents(event: Event, authEvents: readonly Event[], room: AuthEventsRoom): Verdict {
  const decision = decideAuthEvents(event, authEvents, room);
  return decision === undefined ? ALLOWED : toVerdict(decision, room.version);
}

function checkOther({ event, state, levels, version }: AuthContext): Decision {
  const { type, sender, stateKey } = event;
  // 6
  if (membershipOf(state, sender) !== 'join') return rejectBy('sender');
  // 7
  if (type === 'm.room.third_party_invite') {
    const key = 'thirdPartyInvite.level';
    return hasLevel(levels, sender, 'invite') ? allowBy(key) : rejectBy(key);
  }
  // 8
  if (requiredLevel(levels, type, stateKey !== undefined) > userLevel(levels, sender)) return rejectBy('level');
  // 9
  if (stateKey?.startsWith('@') && stateKey !== sender) return rejectBy('stateKey');
  // 10
  if (type === 'm.room.power_levels') return checkPowerLevelsChange(sender, event.content, levels);
  // v1 and v2: 11
  if (type === 'm.room.redaction' && version.redactionAuthRule) {
    if (hasLevel(levels, sender, 'redact')) return allowBy('redaction.level');
    return isOfSameServer(event) ? allowBy('redaction.domain') : rejectBy('redaction.otherwise');
  }
  // 11
  return allowBy('otherwise');
}

/** The servers of the senders are compared: a v12 room id names none. */
function isLetInByFederation(event: Event, create: StateEvent): boolean {
  return create.content['m.federate'] !== false || domainOf(event.sender) === domainOf(create.sender);
}

function checkAliases(event: Event): Decision {
  if (event.stateKey === undefined) return rejectBy('aliases.stateKey');
  return domainOf(event.sender) === event.stateKey ? allowBy('aliases.otherwise') : rejectBy('aliases.domain');
}

function isOfSameServer(redaction: Event): boolean {
  return redaction.redacts !== undefined && domainOf(redaction.redacts) === domainOf(redaction.eventId);
}

function decideAuthEvents(event: Event, authEvents: readonly Event[], room: AuthEventsRoom): Decision | undefined {
  const { version, isRejected } = room;
  // 1 has decided about create events already
  if (event.type === 'm.room.create') return undefined;
  // 2
  if (version.roomIdFromCreate && isRejected(`$${event.roomId.slice(1)}`)) return rejectBy('roomId');
  // 3.1
  if (hasDuplicates(event, authEvents)) return rejectBy('authEvents.duplicate');
  // 3.2
  const needed = new Set(listAuthTypes(event, version).map(({ type, stateKey }) => pairKey(type, stateKey)));
  const isNeeded = ({ type, stateKey }: Event) => stateKey !== undefined && needed.has(pairKey(type, stateKey));
  if (!authEvents.every(isNeeded)) return rejectBy('authEvents.unexpected');
  // 3.3
  if (authEvents.some(({ eventId }) => isRejected(eventId))) return rejectBy('authEvents.rejected');
  // v1 to v11: 2.4
  const hasCreate = authEvents.some(({ type }) => type === 'm.room.create');
  if (!version.roomIdFromCreate && !hasCreate) return rejectBy('authEvents.noCreate');
  // 3.4
  if (authEvents.some(({ roomId }) => roomId !== event.roomId)) return rejectBy('authEvents.otherRoom');
  return undefined;
}

/** Also the same event named twice, which its looked-up auth events may no longer show. */
function hasDuplicates(event: Event, authEvents: readonly Event[]): boolean {
  if (new Set(event.authEvents).size !== event.authEvents.length) return true;
  const stateEvents = authEvents.filter(({ stateKey }) => stateKey !== undefined);
  return new Set(stateEvents.map(({ type, stateKey }) => pairKey(type, stateKey ?? ''))).size !== stateEvents.length;
}

function pairKey(type: string, stateKey: string): string {
  return JSON.stringify([type, stateKey]);
}
