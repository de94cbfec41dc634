/**
 * What an event means to the local members of its room. The predefined rules are run once for all who have them; rules
 * are run per member only for those to whom the event may mean something else: who is mentioned or named, invited, has
 * rules of their own or ignores somebody. So a message costs as much in a room of ten as in one of ten thousand.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
 */
import { foldCase } from '../lib/glob.ts';
import { localpartOf, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { Event } from '../protocol/pdu.ts';
import { getUserLevel, notificationLevel } from '../protocol/power-levels.ts';
import { compileRuleset, evaluatePushRules, type PushOutcome } from '../protocol/push-rules.ts';
import { createDefaultRules } from '../protocol/push-rules-default.ts';
import { createPushSubject, type PushSubject } from '../protocol/push-subject.ts';
import { MAX_RELATION_HOPS, nextInChain, threadOf } from '../protocol/threads.ts';
import type { Notification, NotificationOutcome } from '../storage/notifications.ts';
import type { PersonalRules } from './personal-rules.ts';
import type { PushRoomState, PushRooms } from './types.ts';

export interface EvaluationOptions {
  readonly personalRules: PersonalRules;
  readonly rooms: Pick<PushRooms, 'loadEvent'>;
  readonly serverName: ServerName;
}

export interface PlacedEvent {
  readonly event: Event;
  readonly position: number;
}

/** Mentions looked at; a message of full size holds more ids than that, but no room reads it. */
const MAX_MENTIONS = 1_000;

/** The predefined rules, without those that are about one user. */
const COMMON_RULES = createCommonRules();

function createCommonRules() {
  const nobody = '@nobody:invalid' as UserId;
  const { override, ...others } = createDefaultRules(nobody);
  const personal = ['.m.rule.invite_for_me', '.m.rule.is_user_mention', '.m.rule.contains_display_name'];
  const common = override.filter(({ rule_id: ruleId }) => !personal.includes(ruleId));
  return compileRuleset({ ...others, override: common, content: [] }, nobody);
}

/** Undefined where nobody is notified and nobody would be. */
export async function evaluateEvent(
  options: EvaluationOptions,
  { event, position }: PlacedEvent,
  room: PushRoomState,
): Promise<Notification | undefined> {
  const subject = createPushSubject(event, {
    memberCount: room.joinedCount,
    canNotify: (key) => getUserLevel(room, event.sender, room.version) >= notificationLevel(room, key, room.version),
  });
  const common = toOutcome(evaluatePushRules(COMMON_RULES, subject, {}));
  const exceptions = await findExceptions(options, { event, room, subject, common });
  const concerns = common.notify || [...exceptions.values()].some(({ notify }) => notify);
  if (!concerns) return undefined;
  const threadId = await loadThread(options.rooms, event);
  const { roomId, eventId, sender } = event;
  return { roomId, position, eventId, threadId, sender, common, exceptions };
}

interface Evaluation {
  readonly event: Event;
  readonly room: PushRoomState;
  readonly subject: PushSubject;
  readonly common: NotificationOutcome;
}

async function findExceptions(
  options: EvaluationOptions,
  { event, room, subject, common }: Evaluation,
): Promise<ReadonlyMap<UserId, NotificationOutcome>> {
  const exceptions = new Map<UserId, NotificationOutcome>();
  const candidates = [...findCandidates(options, { event, room, subject })].filter((userId) => userId !== event.sender);
  if (candidates.length === 0) return exceptions;
  const personal = await options.personalRules.load(candidates);
  for (const userId of candidates) {
    const { rules, ignored } = personal.get(userId) ?? {};
    if (rules === undefined || ignored === undefined) continue;
    const displayName = displayNameOf(room.get('m.room.member', userId)?.content);
    const outcome = ignored.has(event.sender) ? NOTHING : toOutcome(evaluatePushRules(rules, subject, { displayName }));
    // Whoever is only invited is no member, to whom the common outcome would apply.
    const without = room.membershipOf(userId) === 'join' ? common : NOTHING;
    if (!isSame(outcome, without)) exceptions.set(userId, outcome);
  }
  return exceptions;
}

const NOTHING: NotificationOutcome = { notify: false, highlight: false, tweaks: undefined };

function toOutcome({ notify, highlight, tweaks }: PushOutcome): NotificationOutcome {
  if (!notify) return NOTHING;
  return { notify, highlight, tweaks: Object.keys(tweaks).length === 0 ? undefined : JSON.stringify(tweaks) };
}

function isSame(a: NotificationOutcome, b: NotificationOutcome): boolean {
  return a.notify === b.notify && a.highlight === b.highlight && a.tweaks === b.tweaks;
}

type Candidacy = Pick<Evaluation, 'event' | 'room' | 'subject'>;

function findCandidates(options: EvaluationOptions, { event, room, subject }: Candidacy): ReadonlySet<UserId> {
  const { serverName, personalRules } = options;
  const candidates = new Set<UserId>(specialMembers(personalRules, room));
  const isLocal = (userId: string): userId is UserId => userId.endsWith(`:${serverName}`);
  const { stateKey } = event;
  if (event.type === 'm.room.member' && stateKey !== undefined && isLocal(stateKey)) candidates.add(stateKey);
  const mentions = event.content['m.mentions'];
  const userIds = isJsonObject(mentions) ? mentions['user_ids'] : undefined;
  for (const userId of isJsonArray(userIds) ? userIds.slice(0, MAX_MENTIONS) : []) {
    if (typeof userId === 'string' && isLocal(userId) && room.membershipOf(userId) === 'join') candidates.add(userId);
  }
  const body = mentions === undefined ? subject.foldedText('content.body') : undefined;
  if (body === undefined) return candidates;
  // Only roughly: the rules say exactly whether a name is there.
  for (const { userId, names } of namesOf(room, serverName)) {
    if (names.some((name) => body.includes(name))) candidates.add(userId);
  }
  return candidates;
}

interface Special {
  readonly serial: number;
  readonly users: readonly UserId[];
}

// Snapshots share their members for as long as none changes, so both lists are made once per change of them.
const specialOf = new WeakMap<object, Special>();
const names = new WeakMap<object, readonly MemberNames[]>();

/** The joined members who have rules of their own. */
function specialMembers({ special, serial }: PersonalRules, room: PushRoomState): readonly UserId[] {
  if (special.size === 0) return [];
  const known = specialOf.get(room.parts.members);
  if (known?.serial === serial) return known.users;
  const users =
    special.size <= room.joinedCount
      ? [...special].filter((userId) => room.membershipOf(userId) === 'join')
      : joined(room)
          .map(({ userId }) => userId)
          .filter((userId) => special.has(userId));
  specialOf.set(room.parts.members, { serial, users });
  return users;
}

interface MemberNames {
  readonly userId: UserId;
  /** With their case folded. */
  readonly names: readonly string[];
}

function namesOf(room: PushRoomState, serverName: ServerName): readonly MemberNames[] {
  const known = names.get(room.parts.members);
  if (known !== undefined) return known;
  const list = joined(room)
    .filter(({ userId }) => serverNameOf(userId) === serverName)
    .map(({ userId, displayName }) => ({
      userId,
      names: [localpartOf(userId), displayName].flatMap((name) =>
        name === undefined || name === '' ? [] : foldCase(name),
      ),
    }));
  names.set(room.parts.members, list);
  return list;
}

function joined(room: PushRoomState): readonly { readonly userId: UserId; readonly displayName: string | undefined }[] {
  const members: { userId: UserId; displayName: string | undefined }[] = [];
  for (const { stateKey, content } of room.members()) {
    if (content['membership'] !== 'join') continue;
    // A membership event was accepted, so its state key is a user id.
    members.push({ userId: stateKey as UserId, displayName: displayNameOf(content) });
  }
  return members;
}

function displayNameOf(content: Event['content'] | undefined): string | undefined {
  const name = content?.['displayname'];
  return typeof name === 'string' ? name : undefined;
}

async function loadThread(rooms: EvaluationOptions['rooms'], start: Event): Promise<string> {
  const chain = [start];
  for (let event = start; chain.length <= MAX_RELATION_HOPS; ) {
    const next = nextInChain(event);
    // The lookup by an id that is none finds nothing.
    const placed = next === undefined ? undefined : await rooms.loadEvent(event.roomId, next as Event['eventId']);
    if (placed === undefined) break;
    event = placed.event;
    chain.push(event);
  }
  return threadOf(chain);
}
