/**
 * Where in the rooms' timelines a user may read, worked out from the few events that change it instead of for each event:
 * what a search is confined to before it counts and ranks anything. Pure. In the order of the stream, which is that of
 * the states but for events that other servers sent late: what is found is judged one by one all the same.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 */
import type { RoomId, UserId } from '../protocol/ids.ts';
import { isVisible } from '../protocol/visibility.ts';
import type { Stretch, VisibilityChange } from '../storage/search.ts';

/** The stretches of every room, in order and apart from each other. */
export function visibleStretches(changes: readonly VisibilityChange[], userId: UserId): readonly Stretch[] {
  return [...Map.groupBy(changes, ({ roomId }) => roomId)].flatMap(([roomId, ofRoom]) =>
    stretchesOfRoom(roomId, ofRoom, userId),
  );
}

function stretchesOfRoom(roomId: RoomId, changes: readonly VisibilityChange[], userId: UserId): readonly Stretch[] {
  const inOrder = changes.toSorted((a, b) => a.position - b.position);
  const lastJoin = inOrder.findLast(isJoin)?.position ?? Number.NEGATIVE_INFINITY;
  const isJoined = inOrder.findLast(({ type }) => type === 'm.room.member')?.content['membership'] === 'join';
  const joinedUntil = isJoined ? Number.POSITIVE_INFINITY : lastJoin;
  const stretches: Stretch[] = [];
  let facts: { visibility: string | undefined; membership: string | undefined } = {
    visibility: undefined,
    membership: undefined,
  };
  const add = (from: number, until: number): void => {
    const question = { before: facts, after: facts, event: { type: 'm.room.message', stateKey: undefined }, userId };
    if (from >= until || !isVisible({ ...question, joinedLater: from < joinedUntil })) return;
    const last = stretches.at(-1);
    if (last?.until === from) stretches.splice(-1, 1, { ...last, until });
    else stretches.push({ roomId, from, until });
  };
  let from = Number.MIN_SAFE_INTEGER;
  for (const change of inOrder) {
    add(from, change.position);
    from = change.position;
    const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
    facts =
      change.type === 'm.room.member'
        ? { ...facts, membership: text(change.content['membership']) }
        : { ...facts, visibility: text(change.content['history_visibility']) };
  }
  add(from, Number.MAX_SAFE_INTEGER);
  return stretches;
}

function isJoin({ type, content }: VisibilityChange): boolean {
  return type === 'm.room.member' && content['membership'] === 'join';
}
