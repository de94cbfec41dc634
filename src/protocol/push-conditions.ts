/**
 * The conditions of push rules, compiled into predicates. A condition that is unknown or malformed never matches.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#conditions
 */
import { compileGlob, containsWord, foldCase } from '../lib/glob.ts';
import { isJsonArray } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import type { PushSubject } from './push-subject.ts';

/** One user's evaluation of one event. */
export interface PushEvaluation {
  readonly subject: PushSubject;
  /** The user's display name in the room. */
  readonly displayName: string | undefined;
  /** Spends from the evaluation's budget for reading text; false when it is used up. */
  readonly mayRead: (characters: number) => boolean;
}

export type PushPredicate = (evaluation: PushEvaluation) => boolean;

/** The property in which patterns match words instead of the whole value. */
export const BODY_PATH = 'content.body';

/** Compiles one condition. */
export function compileCondition(condition: JsonObject): PushPredicate {
  const { kind, key, pattern, value, is } = condition;
  switch (kind) {
    case 'event_match':
      return typeof key === 'string' && typeof pattern === 'string' ? eventMatches(key, pattern) : never;
    case 'event_property_is':
      return typeof key === 'string' && isScalar(value) ? propertyIs(key, value) : never;
    case 'event_property_contains':
      return typeof key === 'string' && isScalar(value) ? propertyContains(key, value) : never;
    case 'contains_display_name':
      return containsDisplayName;
    case 'room_member_count':
      return typeof is === 'string' ? roomMemberCount(is) : never;
    case 'sender_notification_permission':
      return typeof key === 'string' ? ({ subject }) => subject.room.canNotify(key) : never;
    default:
      return never;
  }
}

/** Compiles a glob over a string of the event, which for the body has to be found between word boundaries. */
export function eventMatches(path: string, pattern: string): PushPredicate {
  const matches = compileGlob(foldCase(pattern), { wholeWord: path === BODY_PATH });
  return ({ subject, mayRead }) => {
    const text = subject.foldedText(path);
    return text !== undefined && mayRead(text.length) && matches(text);
  };
}

const never: PushPredicate = () => false;

function propertyIs(path: string, value: JsonValue): PushPredicate {
  return ({ subject }) => subject.property(path) === value;
}

function propertyContains(path: string, value: JsonValue): PushPredicate {
  return ({ subject, mayRead }) => {
    const list = subject.property(path);
    return isJsonArray(list) && mayRead(list.length) && list.includes(value);
  };
}

const containsDisplayName: PushPredicate = ({ subject, displayName, mayRead }) => {
  if (displayName === undefined || displayName === '') return false;
  const body = subject.foldedText(BODY_PATH);
  return body !== undefined && mayRead(body.length) && containsWord(body, foldCase(displayName));
};

const COMPARISONS: ReadonlyMap<string, (count: number, limit: number) => boolean> = new Map([
  ['', (count, limit) => count === limit],
  ['==', (count, limit) => count === limit],
  ['<', (count, limit) => count < limit],
  ['>', (count, limit) => count > limit],
  ['<=', (count, limit) => count <= limit],
  ['>=', (count, limit) => count >= limit],
]);

function roomMemberCount(is: string): PushPredicate {
  const [, prefix, digits] = /^([=<>]*)([0-9]+)$/.exec(is) ?? [];
  const compare = COMPARISONS.get(prefix ?? 'none');
  if (digits === undefined || compare === undefined) return never;
  const limit = Number(digits);
  return ({ subject }) => compare(subject.room.memberCount, limit);
}

function isScalar(value: JsonValue | undefined): value is string | number | boolean | null {
  if (typeof value === 'number') return Number.isSafeInteger(value);
  return value === null || typeof value === 'string' || typeof value === 'boolean';
}
