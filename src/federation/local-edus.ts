/**
 * What local users do that is worth no event: typing, and how far they have read. Handed to the queues of the servers in the
 * room, where the newest counts.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
 * https://spec.matrix.org/v1.19/server-server-api/#receipts
 */
import type { RoomEngine } from '../engine/types.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { receiptStream } from '../storage/receipts.ts';
import type { Hub } from '../streams/hub.ts';
import type { RoomServers } from './room-servers.ts';
import type { Sender } from './sender.ts';

/** Who types: in memory, and told of after each change. */
export interface TypingUsers {
  getTyping(roomId: RoomId): readonly UserId[];
  follow(follower: (roomId: RoomId) => void): Disposable;
}

export interface LocalEdusOptions {
  readonly hub: Hub;
  readonly typing: TypingUsers;
  readonly engine: Pick<RoomEngine, 'getSnapshot'>;
  readonly roomServers: RoomServers;
  readonly sender: Pick<Sender, 'addEdus'>;
  readonly serverName: ServerName;
}

export function followLocalEdus(options: LocalEdusOptions): Disposable {
  const stack = new DisposableStack();
  stack.use(followTyping(options));
  stack.use(followReceipts(options));
  return stack;
}

function followTyping({ typing, sender, serverName, ...rooms }: LocalEdusOptions): Disposable {
  /** The local users who typed in a room when it was last looked at. */
  const known = new Map<RoomId, ReadonlySet<UserId>>();
  return typing.follow((roomId) => {
    const before = known.get(roomId) ?? new Set();
    const now = new Set(typing.getTyping(roomId).filter((userId) => serverNameOf(userId) === serverName));
    if (now.size > 0) known.set(roomId, now);
    else known.delete(roomId);
    const changes = [
      ...[...now.difference(before)].map((userId) => ({ roomId, userId, isTyping: true })),
      ...[...before.difference(now)].map((userId) => ({ roomId, userId, isTyping: false })),
    ];
    if (changes.length === 0) return;
    for (const server of othersIn({ ...rooms, serverName }, roomId)) {
      sender.addEdus(server, (edus) => {
        for (const change of changes) edus.addTyping(change);
      });
    }
  });
}

function followReceipts({ hub, sender, serverName, ...rooms }: LocalEdusOptions): Disposable {
  return hub.follow((batch) => {
    for (const { row } of batch.rowsOf(receiptStream)) {
      // Private ones are nobody's business, and those of others come from their own server.
      if (row.type !== 'm.read' || serverNameOf(row.userId) !== serverName) continue;
      for (const server of othersIn({ ...rooms, serverName }, row.roomId)) {
        sender.addEdus(server, (edus) => edus.addReceipt(row));
      }
    }
  });
}

/** A room where something like this happens is in memory; of one that is not, nobody would miss it. */
function othersIn(
  { engine, roomServers, serverName }: Pick<LocalEdusOptions, 'engine' | 'roomServers' | 'serverName'>,
  roomId: RoomId,
): readonly ServerName[] {
  const snapshot = engine.getSnapshot(roomId);
  return snapshot === undefined ? [] : [...roomServers.of(snapshot)].filter((server) => server !== serverName);
}
