/**
 * The children of a space, as its state names them, in the order that clients show. Pure.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mspacechild
 */
import type { RoomSnapshot, StateEntry } from '../engine/room-snapshot.ts';
import { isRoomId, isServerName, isUserId, type RoomId, type ServerName } from '../protocol/ids.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';

export interface SpaceChild {
  readonly roomId: RoomId;
  readonly entry: ChildEntry;
}

/** What of the state event is shown. */
export type ChildEntry = Pick<StateEntry, 'type' | 'stateKey' | 'content' | 'sender' | 'originServerTs'>;

/** Those that were not taken out of the space again; none for a room that is no space. */
export function childrenOf(space: RoomSnapshot, { suggestedOnly }: { suggestedOnly: boolean }): readonly SpaceChild[] {
  if (space.get('m.room.create', '')?.content['type'] !== 'm.space') return [];
  const children: SpaceChild[] = [];
  for (const entry of space.state()) {
    const child = toChild(entry);
    if (child !== undefined) children.push(child);
  }
  return suggested(children, suggestedOnly).sort(byPlace);
}

/** All of them, or those that are suggested. */
export function suggested(children: readonly SpaceChild[], suggestedOnly: boolean): SpaceChild[] {
  return children.filter(({ entry }) => !suggestedOnly || entry.content['suggested'] === true);
}

/** The servers by which a child can be found. */
export function viaOf({ entry }: SpaceChild): readonly ServerName[] {
  const { via } = entry.content;
  const names = isJsonArray(via) ? via.slice(0, MAX_VIA).filter((name) => typeof name === 'string') : [];
  return names.filter(isServerName);
}

/** Of one child; more say the same. */
const MAX_VIA = 10;

/** A child as another server's stripped state tells of it. */
export function toSpaceChild(state: JsonObject): SpaceChild | undefined {
  const { type, state_key: stateKey, content, sender, origin_server_ts: originServerTs } = state;
  if (typeof type !== 'string' || typeof stateKey !== 'string' || !isJsonObject(content)) return undefined;
  if (typeof sender !== 'string' || !isUserId(sender) || typeof originServerTs !== 'number') return undefined;
  return toChild({ type, stateKey, content, sender, originServerTs });
}

function toChild(entry: ChildEntry): SpaceChild | undefined {
  if (entry.type !== 'm.space.child' || !isRoomId(entry.stateKey)) return undefined;
  // A child without servers to find it by is one that was removed.
  return isJsonArray(entry.content['via']) ? { roomId: entry.stateKey, entry } : undefined;
}

/** https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space */
export function byPlace(a: SpaceChild, b: SpaceChild): number {
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
