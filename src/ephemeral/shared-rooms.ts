/**
 * Who shares a room with whom, from the rooms that each user has joined: read once for those who matter now, many at
 * once, and kept up to date by the stream. Asking costs as many look-ups as the user with fewer rooms has.
 */
import { Lru } from '../lib/lru.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { Transaction } from '../storage/database.ts';
import { listRoomsJoinedBy } from '../storage/memberships.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import type { Hub } from '../streams/hub.ts';

export interface SharedRooms extends Disposable {
  /** Reads what is not known yet of the rooms of these users. */
  load(userIds: Iterable<UserId>): Promise<void>;
  /** Undefined while nothing is known of them. */
  getRooms(userId: UserId): ReadonlySet<RoomId> | undefined;
  /** Whether two users whose rooms are known have one in common. */
  share(a: UserId, b: UserId): boolean;
}

/** Memberships kept, about 100 bytes each. */
const MAX_MEMBERSHIPS = 1_000_000;

interface Loading {
  readonly missing: ReadonlySet<string>;
  readonly changes: { readonly userId: UserId; readonly roomId: RoomId; readonly isJoined: boolean }[];
}

export function createSharedRooms({
  database,
  hub,
}: {
  readonly database: Transaction;
  readonly hub: Hub;
}): SharedRooms {
  const rooms = new Lru<UserId, Set<RoomId>>({ maxCost: MAX_MEMBERSHIPS, costOf: (of) => of.size + 1 });
  const loading = new Set<Loading>();
  const apply = ({ userId, roomId, isJoined }: Loading['changes'][number]): void => {
    const of = rooms.peek(userId);
    if (isJoined) of?.add(roomId);
    else of?.delete(roomId);
  };
  const following = hub.follow((batch) => {
    for (const { row } of batch.rowsOf(pduStream)) {
      const membership = row.state?.membership;
      const { stateKey } = row.stored.event;
      if (membership === undefined || stateKey === undefined) continue;
      // A membership event was accepted, so its state key is a user id.
      const change = { userId: stateKey as UserId, roomId: row.head.roomId, isJoined: membership === 'join' };
      // What is committed while the database answers may be missing in its answer.
      for (const one of loading) if (one.missing.has(stateKey)) one.changes.push(change);
      apply(change);
    }
  });
  return {
    getRooms: (userId) => rooms.get(userId),
    share: (a, b) => hasCommon(rooms.get(a), rooms.get(b)),
    async load(userIds) {
      const missing = new Set([...userIds].filter((userId) => !rooms.has(userId)));
      if (missing.size === 0) return;
      const one: Loading = { missing, changes: [] };
      loading.add(one);
      try {
        const found = Map.groupBy(await listRoomsJoinedBy(database, [...missing]), ({ userId }) => userId);
        for (const userId of missing) {
          rooms.set(userId, new Set((found.get(userId) ?? []).map(({ roomId }) => roomId)));
        }
        for (const change of one.changes) apply(change);
      } finally {
        loading.delete(one);
      }
    },
    [Symbol.dispose]: () => following[Symbol.dispose](),
  };
}

function hasCommon(a: ReadonlySet<RoomId> | undefined, b: ReadonlySet<RoomId> | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  const [few, many] = a.size <= b.size ? [a, b] : [b, a];
  for (const roomId of few) if (many.has(roomId)) return true;
  return false;
}
