/**
 * The children of a space, as its state names them, in the order that clients show. Pure.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mspacechild
 */
import type { RoomSnapshot, StateEntry } from '../engine/room-snapshot.ts';
import { isRoomId, type RoomId } from '../protocol/ids.ts';
import { isJsonArray } from '../protocol/json-value.ts';

export interface SpaceChild {
  readonly roomId: RoomId;
  readonly entry: StateEntry;
}

/** Those that were not taken out of the space again; none for a room that is no space. */
export function childrenOf(space: RoomSnapshot, { suggestedOnly }: { suggestedOnly: boolean }): readonly SpaceChild[] {
  if (space.get('m.room.create', '')?.content['type'] !== 'm.space') return [];
  const children: SpaceChild[] = [];
  for (const entry of space.state()) {
    if (entry.type !== 'm.space.child' || !isRoomId(entry.stateKey)) continue;
    // A child without servers to find it by is one that was removed.
    if (!isJsonArray(entry.content['via'])) continue;
    if (!suggestedOnly || entry.content['suggested'] === true) children.push({ roomId: entry.stateKey, entry });
  }
  return children.sort(byPlace);
}

/** https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space */
function byPlace(a: SpaceChild, b: SpaceChild): number {
  const [orderA, orderB] = [orderOf(a), orderOf(b)];
  if (orderA !== orderB) {
    if (orderA === undefined) return 1;
    if (orderB === undefined) return -1;
    return orderA < orderB ? -1 : 1;
  }
  return a.entry.originServerTs - b.entry.originServerTs || (a.roomId < b.roomId ? -1 : 1);
}

/** Up to 50 characters of printable ASCII; anything else counts as none. */
function orderOf({ entry }: SpaceChild): string | undefined {
  const { order } = entry.content;
  return typeof order === 'string' && /^[\x20-\x7e]{1,50}$/.test(order) ? order : undefined;
}
