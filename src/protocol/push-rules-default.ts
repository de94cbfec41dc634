/**
 * The predefined push rules, in the spec's order: what every user has, whose state and actions they may change. Beside
 * those of the spec stand the three that it had until v1.16, for messages that name users in their text only: many
 * clients and bridges still send such. Like then, they say nothing about events that have `m.mentions`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
 */
import { localpartOf, type UserId } from './ids.ts';
import { isJsonArray, isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import { parseStoredRule } from './push-rule-parse.ts';
import { MASTER_RULE_ID, type PushAction, type PushRule, type PushRuleKind, type PushRuleset } from './push-ruleset.ts';

export interface DefaultRuleOptions {
  /** MSC3930: rules for polls (MSC3381), under their unstable names. */
  readonly polls?: boolean;
}

/** The ruleset of a user who has changed nothing. */
export function createDefaultRules(userId: UserId, options: DefaultRuleOptions = {}): PushRuleset {
  return {
    override: [...overrideRules(userId), ...(options.polls ? [POLL_RESPONSE] : [])],
    content: [
      predefined('.m.rule.contains_user_name', {
        pattern: localpartOf(userId),
        actions: ['notify', sound('default'), HIGHLIGHT],
      }),
    ],
    room: [],
    sender: [],
    underride: [...UNDERRIDE_RULES, ...(options.polls ? POLL_UNDERRIDE_RULES : [])],
  };
}

/**
 * The ruleset that storage kept, with the predefined rules of today: only whether they are enabled and what they do is
 * taken from what was kept. Anything that is not a rule is left out.
 */
export function restoreRuleset(
  stored: JsonValue | undefined,
  userId: UserId,
  options: DefaultRuleOptions = {},
): PushRuleset {
  const defaults = createDefaultRules(userId, options);
  const restore = (kind: PushRuleKind): readonly PushRule[] => {
    const list = isJsonObject(stored) ? stored[kind] : undefined;
    const rules = (isJsonArray(list) ? list : []).map(parseStoredRule).filter((rule) => rule !== undefined);
    const changes = new Map(rules.filter((rule) => rule.default).map((rule) => [rule.rule_id, rule]));
    const predefined = defaults[kind].map((rule) => {
      const change = changes.get(rule.rule_id);
      return change === undefined ? rule : { ...rule, enabled: change.enabled, actions: change.actions };
    });
    const isMaster = (rule: PushRule): boolean => rule.rule_id === MASTER_RULE_ID;
    return [
      ...predefined.filter(isMaster),
      ...rules.filter((rule) => !rule.default),
      ...predefined.filter((rule) => !isMaster(rule)),
    ];
  };
  return {
    override: restore('override'),
    content: restore('content'),
    room: restore('room'),
    sender: restore('sender'),
    underride: restore('underride'),
  };
}

const HIGHLIGHT = { set_tweak: 'highlight' };

function sound(value: string): JsonObject {
  return { set_tweak: 'sound', value };
}

function eventMatch(key: string, pattern: string): JsonObject {
  return { kind: 'event_match', key, pattern };
}

const TWO_MEMBERS = { kind: 'room_member_count', is: '2' };
const EMPTY_STATE_KEY = eventMatch('state_key', '');

/** Those of the predefined rules that look for mentions in the text. */
export const TEXT_MENTION_RULES: ReadonlySet<string> = new Set([
  '.m.rule.contains_display_name',
  '.m.rule.roomnotif',
  '.m.rule.contains_user_name',
]);

interface Definition {
  readonly conditions?: readonly JsonObject[];
  readonly pattern?: string;
  readonly actions: readonly PushAction[];
  readonly enabled?: boolean;
}

function predefined(id: string, { enabled = true, ...definition }: Definition): PushRule {
  return { rule_id: id, default: true, enabled, ...definition };
}

function overrideRules(userId: UserId): readonly PushRule[] {
  return [
    predefined(MASTER_RULE_ID, { enabled: false, conditions: [], actions: [] }),
    predefined('.m.rule.suppress_notices', { conditions: [eventMatch('content.msgtype', 'm.notice')], actions: [] }),
    predefined('.m.rule.invite_for_me', {
      conditions: [
        eventMatch('type', 'm.room.member'),
        eventMatch('content.membership', 'invite'),
        eventMatch('state_key', userId),
      ],
      actions: ['notify', sound('default')],
    }),
    predefined('.m.rule.member_event', { conditions: [eventMatch('type', 'm.room.member')], actions: [] }),
    predefined('.m.rule.is_user_mention', {
      conditions: [{ kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: userId }],
      actions: ['notify', sound('default'), HIGHLIGHT],
    }),
    ...OVERRIDE_RULES_FOR_ALL,
  ];
}

const OVERRIDE_RULES_FOR_ALL: readonly PushRule[] = [
  predefined('.m.rule.contains_display_name', {
    conditions: [{ kind: 'contains_display_name' }],
    actions: ['notify', sound('default'), HIGHLIGHT],
  }),
  predefined('.m.rule.is_room_mention', {
    conditions: [
      { kind: 'event_property_is', key: 'content.m\\.mentions.room', value: true },
      { kind: 'sender_notification_permission', key: 'room' },
    ],
    actions: ['notify', HIGHLIGHT],
  }),
  predefined('.m.rule.roomnotif', {
    conditions: [eventMatch('content.body', '@room'), { kind: 'sender_notification_permission', key: 'room' }],
    actions: ['notify', HIGHLIGHT],
  }),
  predefined('.m.rule.tombstone', {
    conditions: [eventMatch('type', 'm.room.tombstone'), EMPTY_STATE_KEY],
    actions: ['notify', HIGHLIGHT],
  }),
  predefined('.m.rule.reaction', { conditions: [eventMatch('type', 'm.reaction')], actions: [] }),
  predefined('.m.rule.room.server_acl', {
    conditions: [eventMatch('type', 'm.room.server_acl'), EMPTY_STATE_KEY],
    actions: [],
  }),
  predefined('.m.rule.suppress_edits', {
    conditions: [{ kind: 'event_property_is', key: 'content.m\\.relates_to.rel_type', value: 'm.replace' }],
    actions: [],
  }),
];

const UNDERRIDE_RULES: readonly PushRule[] = [
  predefined('.m.rule.call', {
    conditions: [eventMatch('type', 'm.call.invite')],
    actions: ['notify', sound('ring')],
  }),
  predefined('.m.rule.encrypted_room_one_to_one', {
    conditions: [TWO_MEMBERS, eventMatch('type', 'm.room.encrypted')],
    actions: ['notify', sound('default')],
  }),
  predefined('.m.rule.room_one_to_one', {
    conditions: [TWO_MEMBERS, eventMatch('type', 'm.room.message')],
    actions: ['notify', sound('default')],
  }),
  predefined('.m.rule.message', { conditions: [eventMatch('type', 'm.room.message')], actions: ['notify'] }),
  predefined('.m.rule.encrypted', { conditions: [eventMatch('type', 'm.room.encrypted')], actions: ['notify'] }),
];

const POLL_RESPONSE = predefined('.org.matrix.msc3930.rule.poll_response', {
  conditions: [eventMatch('type', 'org.matrix.msc3381.poll.response')],
  actions: [],
});

const POLL_UNDERRIDE_RULES: readonly PushRule[] = ['start', 'end'].flatMap((phase) => {
  const isPhase = eventMatch('type', `org.matrix.msc3381.poll.${phase}`);
  const id = `.org.matrix.msc3930.rule.poll_${phase}`;
  return [
    predefined(`${id}_one_to_one`, { conditions: [TWO_MEMBERS, isPhase], actions: ['notify', sound('default')] }),
    predefined(id, { conditions: [isPhase], actions: ['notify'] }),
  ];
});
