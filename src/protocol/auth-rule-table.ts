/**
 * The authorization rules as data: each rule's key, what it can decide, and the outline from which its number on the
 * page of a room version follows. The code of the rules speaks in keys; only a verdict is turned into `v12:5.3.2`.
 * Numbers are those of the rendered pages, where each list counts on from 1.
 *
 * https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
 */
import { ROOM_VERSIONS, type RoomVersion } from './room-version.ts';
import { ALLOWED, rejected, type Verdict } from './verdict.ts';

export interface RuleInfo {
  /** What the rule does when its condition holds; `either` stands for "allow if and only if". */
  readonly effect: 'allow' | 'reject' | 'either';
  /** Why an event is rejected here, or what the rule lets pass. */
  readonly text: string;
  /** Set where a rule has no condition of its own, so that only one outcome can ever come from it. */
  readonly oneSided?: string;
  /** The room versions that have the rule; all, when absent. */
  readonly when?: (version: RoomVersion) => boolean;
}

/** The rule that decided about an event, and how. */
export interface Decision {
  readonly allowed: boolean;
  readonly key: RuleKey;
  /** Says more than the rule's own text, where one rule covers several faults. */
  readonly reason?: string;
}

const LAST = 'has no condition: it decides what no rule before it decided';
const reject = (text: string, when?: RuleInfo['when']) => conditional('reject', text, when);
const allow = (text: string) => conditional('allow', text);
const lastReject = (text: string): RuleInfo => ({ effect: 'reject', text, oneSided: LAST });
const lastAllow = (text: string): RuleInfo => ({ effect: 'allow', text, oneSided: LAST });
const hasRestricted = (version: RoomVersion) => version.restricted;

export const RULES = {
  'create.prevEvents': reject('the create event has prev events'),
  'create.domain': reject("the room id's domain is not the sender's", (version) => !version.roomIdFromCreate),
  'create.hasRoomId': reject('the create event has a room_id', (version) => version.roomIdFromCreate),
  'create.version': reject('the room version is not a recognized one'),
  'create.creator': reject('the create event names no creator', (version) => !version.creatorIsSender),
  'create.additionalCreators': reject(
    'additional_creators is not an array of user ids',
    (version) => version.creatorsPrivileged,
  ),
  'create.otherwise': lastAllow('a valid create event'),

  roomId: reject('the room id is not that of an accepted create event', (version) => version.roomIdFromCreate),

  'authEvents.duplicate': reject('two auth events have the same type and state key'),
  'authEvents.unexpected': reject('an auth event is not one that the event needs'),
  'authEvents.rejected': reject('an auth event was itself rejected'),
  'authEvents.noCreate': reject('there is no create event', (version) => !version.roomIdFromCreate),
  'authEvents.otherRoom': reject('an auth event belongs to another room'),

  federate: reject("the room does not federate and the sender's server is not its creator's"),

  'aliases.stateKey': reject('an aliases event without state key'),
  'aliases.domain': reject("the state key is not the sender's server"),
  'aliases.otherwise': lastAllow("aliases of the sender's own server"),

  'member.malformed': reject('a member event without state key or membership'),
  'member.authorised.signature': reject('the server of the user who authorized the join has not signed'),

  'join.creator': allow('the creator joins the new room'),
  'join.sender': reject('a user can only be joined by themselves'),
  'join.banned': reject('the user is banned'),
  'join.invited': allow('an invited or joined user joins'),
  'join.restricted.member': allow('an invited or joined user joins a restricted room'),
  'join.restricted.authoriser': reject('no joined user who may invite has authorized the join'),
  'join.restricted.otherwise': lastAllow('the join was authorized'),
  'join.public': allow('the room is public'),
  'join.otherwise': lastReject('the join rule does not let the user in'),

  'invite3p.banned': reject('the invited user is banned'),
  'invite3p.signed': reject('the third-party invite is not signed'),
  'invite3p.fields': reject('the signed third-party invite lacks mxid or token'),
  'invite3p.mxid': reject('the third-party invite is for another user'),
  'invite3p.token': reject('the room has no third-party invite of that token'),
  'invite3p.sender': reject('the third-party invite was sent by another user'),
  'invite3p.publicKey': allow('a signature by public_key'),
  'invite3p.publicKeys': allow('a signature by one of public_keys'),
  'invite3p.otherwise': lastReject('no signature matches a public key of the third-party invite'),

  'invite.sender': reject('the sender is not in the room'),
  'invite.target': reject('the invited user is in the room or banned'),
  'invite.level': allow('the sender may invite'),
  'invite.otherwise': lastReject("the sender's power level is below the invite level"),

  'leave.self': {
    effect: 'either',
    text: 'the user is neither in the room nor invited, nor has knocked',
  },
  'leave.sender': reject('the sender is not in the room'),
  'leave.unban': reject("the user is banned, and the sender's power level is below the ban level"),
  'leave.kick': allow('the sender may kick the user'),
  'leave.otherwise': lastReject('the sender may not kick the user'),

  'ban.sender': reject('the sender is not in the room'),
  'ban.level': allow('the sender may ban the user'),
  'ban.otherwise': lastReject('the sender may not ban the user'),

  'knock.rule': reject('the join rule does not let users knock'),
  'knock.sender': reject('a user can only knock for themselves'),
  'knock.membership': allow('a user outside knocks'),
  'knock.otherwise': lastReject('the user is in the room, invited or banned'),

  'member.unknown': lastReject('the membership is not a known one'),

  sender: reject('the sender is not in the room'),
  'thirdPartyInvite.level': { effect: 'either', text: "the sender's power level is below the invite level" },
  level: reject("the sender's power level is below what the event type requires"),
  stateKey: reject('the state key is the id of another user'),

  'powerLevels.scalars': reject('a power level is not an integer', (version) => version.integerPowerLevels),
  'powerLevels.maps': reject(
    'events or notifications is not an object of integers',
    (version) => version.integerPowerLevels,
  ),
  'powerLevels.users': reject('users is not an object of user ids and integers'),
  'powerLevels.creators': reject('users names a creator', (version) => version.creatorsPrivileged),
  'powerLevels.first': allow('the first power levels of the room'),
  'powerLevels.scalarCurrent': reject("the current value of a changed level is above the sender's"),
  'powerLevels.scalarNew': reject("the new value of a changed level is above the sender's"),
  'powerLevels.entryCurrent': reject("the current level of a changed entry is above the sender's"),
  'powerLevels.entryNew': reject("the new level of a changed entry is above the sender's"),
  'powerLevels.userCurrent': reject("the current level of a changed user is not below the sender's"),
  'powerLevels.userNew': reject("the new level of a changed user is above the sender's"),
  'powerLevels.otherwise': lastAllow('a permitted change of power levels'),

  'redaction.level': allow('the sender may redact'),
  'redaction.domain': allow("the redacted event is of the redaction's server"),
  'redaction.otherwise': lastReject('the sender may not redact'),

  otherwise: lastAllow('any other event'),
} as const satisfies Record<string, RuleInfo>;

export type RuleKey = keyof typeof RULES;

type Node = RuleKey | { readonly when?: (version: RoomVersion) => boolean; readonly rules: readonly Node[] };

const JOIN: readonly Node[] = [
  'join.creator',
  'join.sender',
  'join.banned',
  'join.invited',
  {
    when: hasRestricted,
    rules: ['join.restricted.member', 'join.restricted.authoriser', 'join.restricted.otherwise'],
  },
  'join.public',
  'join.otherwise',
];
const INVITE: readonly Node[] = [
  {
    rules: [
      'invite3p.banned',
      'invite3p.signed',
      'invite3p.fields',
      'invite3p.mxid',
      'invite3p.token',
      'invite3p.sender',
      { rules: ['invite3p.publicKey', 'invite3p.publicKeys'] },
      'invite3p.otherwise',
    ],
  },
  'invite.sender',
  'invite.target',
  'invite.level',
  'invite.otherwise',
];
const MEMBER: readonly Node[] = [
  'member.malformed',
  { when: hasRestricted, rules: ['member.authorised.signature'] },
  { rules: JOIN },
  { rules: INVITE },
  { rules: ['leave.self', 'leave.sender', 'leave.unban', 'leave.kick', 'leave.otherwise'] },
  { rules: ['ban.sender', 'ban.level', 'ban.otherwise'] },
  {
    when: (version: RoomVersion) => version.knock,
    rules: ['knock.rule', 'knock.sender', 'knock.membership', 'knock.otherwise'],
  },
  'member.unknown',
];
const POWER_LEVELS: readonly Node[] = [
  'powerLevels.scalars',
  'powerLevels.maps',
  'powerLevels.users',
  'powerLevels.creators',
  'powerLevels.first',
  { rules: ['powerLevels.scalarCurrent', 'powerLevels.scalarNew'] },
  { rules: ['powerLevels.entryCurrent'] },
  { rules: ['powerLevels.entryNew'] },
  { rules: ['powerLevels.userCurrent'] },
  { rules: ['powerLevels.userNew'] },
  'powerLevels.otherwise',
];
const OUTLINE: readonly Node[] = [
  {
    rules: [
      'create.prevEvents',
      'create.domain',
      'create.hasRoomId',
      'create.version',
      'create.creator',
      'create.additionalCreators',
      'create.otherwise',
    ],
  },
  'roomId',
  {
    rules: [
      'authEvents.duplicate',
      'authEvents.unexpected',
      'authEvents.rejected',
      'authEvents.noCreate',
      'authEvents.otherRoom',
    ],
  },
  'federate',
  {
    when: (version) => version.aliasesRule,
    rules: ['aliases.stateKey', 'aliases.domain', 'aliases.otherwise'],
  },
  { rules: MEMBER },
  'sender',
  { rules: ['thirdPartyInvite.level'] },
  'level',
  'stateKey',
  { rules: POWER_LEVELS },
  {
    when: (version) => version.redactionAuthRule,
    rules: ['redaction.level', 'redaction.domain', 'redaction.otherwise'],
  },
  'otherwise',
];

const NUMBERS: ReadonlyMap<RoomVersion, ReadonlyMap<RuleKey, string>> = new Map(
  [...ROOM_VERSIONS.values()].map((version) => [version, numberRules(version)]),
);

/** The rules of `version` with their numbers, in the order of its page. */
export function getRuleNumbers(version: RoomVersion): ReadonlyMap<RuleKey, string> {
  return NUMBERS.get(version) ?? numberRules(version);
}

/** The verdict that a decision means in `version`. */
export function toVerdict(decision: Decision, version: RoomVersion): Verdict {
  if (decision.allowed) return ALLOWED;
  return rejected(getRuleId(decision.key, version), decision.reason ?? RULES[decision.key].text);
}

/** The id of a rule in `version`, such as `v12:5.3.2`. */
export function getRuleId(key: RuleKey, version: RoomVersion): string {
  return `v${version.id}:${getRuleNumbers(version).get(key) ?? key}`;
}

/** `key` lets the event in. */
export function allowBy(key: RuleKey): Decision {
  return { allowed: true, key };
}

/** `key` keeps the event out. */
export function rejectBy(key: RuleKey, reason?: string): Decision {
  return reason === undefined ? { allowed: false, key } : { allowed: false, key, reason };
}

function conditional<Effect extends RuleInfo['effect']>(effect: Effect, text: string, when?: RuleInfo['when']) {
  return when === undefined ? { effect, text } : { effect, text, when };
}

function numberRules(version: RoomVersion): ReadonlyMap<RuleKey, string> {
  const numbers = new Map<RuleKey, string>();
  const walk = (nodes: readonly Node[], prefix: string) => {
    let count = 0;
    for (const node of nodes) {
      const when = typeof node === 'string' ? getCondition(node) : node.when;
      if (when !== undefined && !when(version)) continue;
      count += 1;
      if (typeof node === 'string') numbers.set(node, `${prefix}${count}`);
      else walk(node.rules, `${prefix}${count}.`);
    }
  };
  walk(OUTLINE, '');
  return numbers;
}

function getCondition(key: RuleKey): RuleInfo['when'] {
  const info: RuleInfo = RULES[key];
  return info.when;
}
