/**
 * What an event means to the local members of its room. The predefined rules are run once for all who have them; rules
 * are run per member only for those to whom the event may mean something else: who is mentioned or named, invited, has
 * rules of their own or ignores somebody. So a message costs as much in a room of ten as in one of ten thousand.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications
 */
import type { Clock } from '../lib/clock.ts';
import type { ServerName, UserId } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { Event } from '../protocol/pdu.ts';
import { getUserLevel, notificationLevel } from '../protocol/power-levels.ts';
import { compileRuleset, evaluatePushRules, type PushOutcome } from '../protocol/push-rules.ts';
import { createDefaultRules } from '../protocol/push-rules-default.ts';
import { createPushSubject, type PushSubject } from '../protocol/push-subject.ts';
import { MAX_RELATION_HOPS, nextInChain, threadOf } from '../protocol/threads.ts';
import type { Notification, NotificationOutcome } from '../storage/notifications.ts';
import { findNamed } from './named-members.ts';
import type { Personal, PersonalRules } from './personal-rules.ts';
import type { PushRoomState, PushRooms } from './types.ts';

export interface EvaluationOptions {
  readonly personalRules: PersonalRules;
  readonly rooms: Pick<PushRooms, 'loadEvent'>;
  readonly serverName: ServerName;
  readonly clock: Clock;
}

export interface PlacedEvent {
  readonly event: Event;
  readonly position: number;
}

/** Mentions looked at; a message of full size holds more ids than that, but no room reads it. */
const MAX_MENTIONS = 1_000;

/** Many rules of many users may take long: so long at a stretch, and then others have their turn. */
const MAX_SLICE_MS = 10;

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
  let since = options.clock.monotonic();
  for (const userId of candidates) {
    if (options.clock.monotonic() - since > MAX_SLICE_MS) {
      await new Promise((resolve) => setImmediate(resolve));
      since = options.clock.monotonic();
    }
    const own = personal.get(userId);
    if (own === undefined) continue;
    const displayName = displayNameOf(room.get('m.room.member', userId)?.content);
    const isHidden = own.ignored.has(event.sender) || isIgnoredInvite(event, userId, own);
    const outcome = isHidden ? NOTHING : toOutcome(evaluatePushRules(own.rules, subject, { displayName }));
    // Whoever is only invited is no member, to whom the common outcome would apply.
    const without = room.membershipOf(userId) === 'join' ? common : NOTHING;
    if (!isSame(outcome, without)) exceptions.set(userId, outcome);
  }
  return exceptions;
}

function isIgnoredInvite({ type, stateKey, sender, content }: Event, userId: UserId, own: Personal): boolean {
  const isInvite = type === 'm.room.member' && stateKey === userId && content['membership'] === 'invite';
  return isInvite && own.judgeInviter(sender) !== 'allow';
}

const NOTHING: NotificationOutcome = { notify: false, highlight: false, tweaks: undefined };

// Each compiled rule has one outcome for all events.
const outcomes = new WeakMap<PushOutcome, NotificationOutcome>();

function toOutcome(outcome: PushOutcome): NotificationOutcome {
  const { notify, highlight, tweaks } = outcome;
  if (!notify) return NOTHING;
  const known = outcomes.get(outcome);
  if (known !== undefined) return known;
  const made = { notify, highlight, tweaks: Object.keys(tweaks).length === 0 ? undefined : JSON.stringify(tweaks) };
  outcomes.set(outcome, made);
  return made;
}

function isSame(a: NotificationOutcome, b: NotificationOutcome): boolean {
  return a.notify === b.notify && a.highlight === b.highlight && a.tweaks === b.tweaks;
}

type Candidacy = Pick<Evaluation, 'event' | 'room' | 'subject'>;

function findCandidates(options: EvaluationOptions, { event, room, subject }: Candidacy): ReadonlySet<UserId> {
  const { serverName, personalRules } = options;
  const candidates = new Set<UserId>(personalRules.special.joined(room));
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
  for (const userId of findNamed(body, room, serverName)) candidates.add(userId);
  return candidates;
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
