/**
 * History visibility: whether a user may see an event, or a server may have it, from what the visibility and the
 * membership were right before and right after it. Pure; who calls it finds those out.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5
 */
import { domainOf } from './auth-context.ts';
import type { ServerName, UserId } from './ids.ts';
import type { Event } from './pdu.ts';

/** What a state says about a reader; undefined where it has no such event. */
export interface VisibilityFacts {
  readonly visibility: string | undefined;
  readonly membership: string | undefined;
}

interface Question {
  readonly before: VisibilityFacts;
  readonly after: VisibilityFacts;
  readonly event: Pick<Event, 'type' | 'stateKey'>;
  /** Whether the reader joined at some time after the event, or is joined now. */
  readonly joinedLater: boolean;
}

export interface VisibilityQuestion extends Question {
  readonly userId: UserId;
}

/** For a server, `membership` is what `strongestMembership` makes of those of its users, and it joins with the first. */
export interface ServerVisibilityQuestion extends Question {
  readonly serverName: ServerName;
}

export function isVisible(question: VisibilityQuestion): boolean {
  const { event, userId } = question;
  // NOTSPEC: whoever is invited, removed or banned has to learn it, even where the room shows them nothing else.
  if (event.type === 'm.room.member' && event.stateKey === userId) return true;
  return isAllowed(question);
}

/**
 * Whether a server that asks for history gets the event: where it does not, it gets what redaction leaves. A server may
 * have what any of its users may see.
 */
export function isVisibleToServer(question: ServerVisibilityQuestion): boolean {
  const { event, serverName } = question;
  if (event.type === 'm.room.member' && domainOf(event.stateKey ?? '') === serverName) return true;
  return isAllowed(question);
}

/** Of several users' memberships the one that shows the most. */
export function strongestMembership(memberships: Iterable<string>): string | undefined {
  let strongest: string | undefined;
  for (const membership of memberships) {
    if (membership === 'join') return membership;
    if (membership === 'invite' || strongest === undefined) strongest = membership;
  }
  return strongest;
}

function isAllowed({ before, after, event, joinedLater }: Question): boolean {
  const changesVisibility = event.type === 'm.room.history_visibility' && event.stateKey === '';
  // A change of visibility is seen by whom either side of it lets see.
  if (changesVisibility && allows(before, joinedLater)) return true;
  return allows(after, joinedLater);
}

/** Unknown values mean `shared`. https://spec.matrix.org/v1.19/client-server-api/#mroomhistory_visibility */
function allows({ visibility, membership }: VisibilityFacts, joinedLater: boolean): boolean {
  if (membership === 'join' || visibility === 'world_readable') return true;
  if (visibility === 'joined') return false;
  if (visibility === 'invited') return membership === 'invite';
  return joinedLater;
}
