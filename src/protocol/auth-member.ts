/**
 * The rule about `m.room.member`: who may join, invite, leave, kick, ban, unban and knock. Step numbers in comments
 * are those of v12, where the rule is the fifth; versions before v8 lack the second step and count on without it.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
 */
import { type AuthContext, domainOf, membershipOf } from './auth-context.ts';
import { allowBy, type Decision, rejectBy } from './auth-rule-table.ts';
import { checkThirdPartyInvite } from './auth-third-party-invite.ts';
import { isJsonObject } from './json-value.ts';
import type { JsonValue } from './pdu.ts';
import { hasLevel, isCreator, outranks } from './power-levels.ts';

/** Decides about a membership event. */
export function checkMember(context: AuthContext): Decision {
  const { event, version } = context;
  const membership = event.content['membership'];
  const target = event.stateKey;
  // 5.1
  if (target === undefined || membership === undefined) return rejectBy('member.malformed');
  // 5.2
  if (version.restricted && !isSignedByAuthoriser(context)) return rejectBy('member.authorised.signature');
  // 5.3 to 5.7
  if (membership === 'join') return checkJoin(context, target);
  if (membership === 'invite') return checkInvite(context, target);
  if (membership === 'leave') return checkLeave(context, target);
  if (membership === 'ban') return checkBan(context, target);
  if (membership === 'knock' && version.knock) return checkKnock(context, target);
  // 5.8
  return rejectBy('member.unknown');
}

/**
 * Whether the server of the user who authorized the join is among those that signed. The bytes of that signature are
 * checked with the event's other signatures on receipt, where the servers' keys are known.
 */
function isSignedByAuthoriser({ event }: AuthContext): boolean {
  const authoriser = event.content['join_authorised_via_users_server'];
  if (authoriser === undefined) return true;
  if (typeof authoriser !== 'string') return false;
  const signatures: JsonValue | undefined = event.pdu.signatures;
  const server = domainOf(authoriser);
  if (!isJsonObject(signatures) || !Object.hasOwn(signatures, server)) return false;
  const own = signatures[server];
  return isJsonObject(own) && Object.keys(own).length > 0;
}

function checkJoin(context: AuthContext, target: string): Decision {
  const { event, state, create, levels } = context;
  // 5.3.1
  if (event.prevEvents.length === 1 && event.prevEvents[0] === create.eventId && isFirstCreator(context, target)) {
    return allowBy('join.creator');
  }
  // 5.3.2
  if (event.sender !== target) return rejectBy('join.sender');
  const membership = membershipOf(state, target);
  // 5.3.3
  if (membership === 'ban') return rejectBy('join.banned');
  const joinRule = joinRuleOf(context);
  const isInside = membership === 'invite' || membership === 'join';
  // 5.3.4
  if ((joinRule === 'invite' || (joinRule === 'knock' && context.version.knock)) && isInside) {
    return allowBy('join.invited');
  }
  // 5.3.5
  if (isRestricted(context, joinRule)) {
    if (isInside) return allowBy('join.restricted.member');
    const authoriser = event.content['join_authorised_via_users_server'];
    const isAuthorised =
      typeof authoriser === 'string' &&
      membershipOf(state, authoriser) === 'join' &&
      hasLevel(levels, authoriser, 'invite');
    return isAuthorised ? allowBy('join.restricted.otherwise') : rejectBy('join.restricted.authoriser');
  }
  // 5.3.6, 5.3.7
  return joinRule === 'public' ? allowBy('join.public') : rejectBy('join.otherwise');
}

/** Additional creators do not count here: only the sender of the create event joins without being let in. */
function isFirstCreator({ create, levels, version }: AuthContext, userId: string): boolean {
  return version.creatorIsSender ? create.sender === userId : isCreator(levels, userId);
}

function checkInvite(context: AuthContext, target: string): Decision {
  const { event, state, levels } = context;
  // 5.4.1
  if (event.content['third_party_invite'] !== undefined) return checkThirdPartyInvite(context, target);
  // 5.4.2
  if (membershipOf(state, event.sender) !== 'join') return rejectBy('invite.sender');
  // 5.4.3
  const membership = membershipOf(state, target);
  if (membership === 'join' || membership === 'ban') return rejectBy('invite.target');
  // 5.4.4, 5.4.5
  return hasLevel(levels, event.sender, 'invite') ? allowBy('invite.level') : rejectBy('invite.otherwise');
}

function checkLeave(context: AuthContext, target: string): Decision {
  const { event, state, levels, version } = context;
  const userId = event.sender;
  const membership = membershipOf(state, target);
  // 5.5.1
  if (userId === target) {
    const mayLeave = membership === 'invite' || membership === 'join' || (membership === 'knock' && version.knock);
    return mayLeave ? allowBy('leave.self') : rejectBy('leave.self');
  }
  // 5.5.2
  if (membershipOf(state, userId) !== 'join') return rejectBy('leave.sender');
  // 5.5.3
  if (membership === 'ban' && !hasLevel(levels, userId, 'ban')) return rejectBy('leave.unban');
  // 5.5.4, 5.5.5
  return outranks(levels, { userId, target }, 'kick') ? allowBy('leave.kick') : rejectBy('leave.otherwise');
}

function checkBan({ event, state, levels }: AuthContext, target: string): Decision {
  const userId = event.sender;
  // 5.6.1
  if (membershipOf(state, userId) !== 'join') return rejectBy('ban.sender');
  // 5.6.2, 5.6.3
  return outranks(levels, { userId, target }, 'ban') ? allowBy('ban.level') : rejectBy('ban.otherwise');
}

function checkKnock(context: AuthContext, target: string): Decision {
  const { event, state, version } = context;
  const joinRule = joinRuleOf(context);
  // 5.7.1
  const canKnock = joinRule === 'knock' || (joinRule === 'knock_restricted' && version.knockRestricted);
  if (!canKnock) return rejectBy('knock.rule');
  // 5.7.2
  if (event.sender !== target) return rejectBy('knock.sender');
  // 5.7.3, 5.7.4
  const membership = membershipOf(state, target);
  const isOutside = membership !== 'ban' && membership !== 'invite' && membership !== 'join';
  return isOutside ? allowBy('knock.membership') : rejectBy('knock.otherwise');
}

function isRestricted({ version }: AuthContext, joinRule: JsonValue): boolean {
  return (
    (joinRule === 'restricted' && version.restricted) || (joinRule === 'knock_restricted' && version.knockRestricted)
  );
}

/** Without join rules, or when they name none, a room is invite only. */
function joinRuleOf({ state }: AuthContext): JsonValue {
  const joinRule = state.get('m.room.join_rules', '')?.content['join_rule'];
  return joinRule === undefined ? 'invite' : joinRule;
}
