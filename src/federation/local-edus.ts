/**
 * What local users do that is worth no event: typing, how far they have read, and whether they are there. Handed to the
 * queues of the servers in the room, where the newest counts; servers that the room keeps out are told nothing.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
 * https://spec.matrix.org/v1.19/server-server-api/#receipts
 */
import { createRoomAcls } from '../engine/room-acls.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { type PresenceStatus, presenceContent } from '../protocol/presence.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { receiptStream } from '../storage/receipts.ts';
import type { Hub } from '../streams/hub.ts';
import type { RoomServers } from './room-servers.ts';
import type { Sender } from './sender.ts';

/** Who types: in memory, and told of after each change. */
export interface TypingUsers {
  getTyping(roomId: RoomId): readonly UserId[];
  follow(follower: (roomId: RoomId) => void): Disposable;
}

/** Who is there, and which rooms they are in. */
export interface PresentUsers {
  readonly presence: {
    get(userId: UserId): PresenceStatus | undefined;
    listPresent(): readonly UserId[];
    follow(follower: (userIds: ReadonlySet<UserId>) => void): Disposable;
  };
  readonly sharedRooms: {
    load(userIds: Iterable<UserId>): Promise<void>;
    getRooms(userId: UserId): ReadonlySet<RoomId> | undefined;
  };
}

export interface LocalEdusOptions {
  /** Undefined where presence is off. */
  readonly presenceParts: PresentUsers | undefined;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Pick<Logger, 'warn'>;
  readonly hub: Hub;
  readonly typing: TypingUsers;
  readonly engine: Pick<RoomEngine, 'getSnapshot'>;
  readonly roomServers: RoomServers;
  readonly sender: Pick<Sender, 'addEdus'>;
  readonly serverName: ServerName;
}

export function followLocalEdus(options: LocalEdusOptions): Disposable {
  const stack = new DisposableStack();
  const othersIn = createOthersIn(options);
  stack.use(followTyping(options, othersIn));
  stack.use(followReceipts(options, othersIn));
  const { presenceParts } = options;
  if (presenceParts !== undefined) {
    stack.use(followPresence({ ...options, presenceParts }, othersIn));
    stack.use(followNewcomers({ ...options, presenceParts }, othersIn));
  }
  return stack;
}

type OthersIn = (roomId: RoomId) => readonly ServerName[];

function followTyping({ typing, sender, serverName }: LocalEdusOptions, othersIn: OthersIn): Disposable {
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
    for (const server of othersIn(roomId)) {
      sender.addEdus(server, (edus) => {
        for (const change of changes) edus.addTyping(change);
      });
    }
  });
}

function followReceipts({ hub, sender, serverName }: LocalEdusOptions, othersIn: OthersIn): Disposable {
  return hub.follow((batch) => {
    for (const { row } of batch.rowsOf(receiptStream)) {
      // Private ones are nobody's business, and those of others come from their own server.
      if (row.type !== 'm.read' || serverNameOf(row.userId) !== serverName) continue;
      for (const server of othersIn(row.roomId)) {
        sender.addEdus(server, (edus) => edus.addReceipt(row));
      }
    }
  });
}

interface PresenceOptions extends LocalEdusOptions {
  readonly presenceParts: PresentUsers;
}

/** Who changes is told of in all their rooms. */
function followPresence(options: PresenceOptions, othersIn: OthersIn): Disposable {
  const { sharedRooms, presence } = options.presenceParts;
  async function tell(userIds: readonly UserId[]): Promise<void> {
    await sharedRooms.load(userIds);
    for (const userId of userIds) {
      const servers = new Set([...(sharedRooms.getRooms(userId) ?? [])].flatMap(othersIn));
      for (const server of servers) tellPresence(options, server, [userId]);
    }
  }
  return presence.follow((userIds) => {
    const ours = [...userIds].filter((userId) => serverNameOf(userId) === options.serverName);
    if (ours.length === 0) return;
    tell(ours).catch((cause: unknown) => options.logger.warn({ cause }, 'other servers were not told who is there'));
  });
}

/** Who comes into a room learns who is there, and the others that they are. */
function followNewcomers(options: PresenceOptions, othersIn: OthersIn): Disposable {
  const { presence } = options.presenceParts;
  return options.hub.follow((batch) => {
    for (const { row } of batch.rowsOf(pduStream)) {
      const { event, replaces } = row.stored;
      if (row.state?.membership !== 'join' || replaces?.content['membership'] === 'join') continue;
      // A membership event was accepted, so its state key is a user id.
      const userId = event.stateKey as UserId;
      const { roomId } = row.head;
      if (serverNameOf(userId) === options.serverName) {
        for (const server of othersIn(roomId)) tellPresence(options, server, [userId]);
        continue;
      }
      const snapshot = options.engine.getSnapshot(roomId);
      const present = presence.listPresent().filter((other) => serverNameOf(other) === options.serverName);
      const inRoom = present.filter((other) => snapshot?.membershipOf(other) === 'join');
      const server = serverNameOf(userId);
      if (othersIn(roomId).includes(server)) tellPresence(options, server, inRoom);
    }
  });
}

function tellPresence(options: PresenceOptions, server: ServerName, userIds: readonly UserId[]): void {
  const { presence } = options.presenceParts;
  const now = options.clock.now();
  options.sender.addEdus(server, (edus) => {
    for (const userId of userIds) {
      const status = presence.get(userId);
      if (status !== undefined) edus.addPresence({ userId, content: presenceContent(status, now) });
    }
  });
}

/** A room where something like this happens is in memory; of one that is not, nobody would miss it. */
function createOthersIn({
  engine,
  roomServers,
  serverName,
}: Pick<LocalEdusOptions, 'engine' | 'roomServers' | 'serverName'>): OthersIn {
  const isAllowed = createRoomAcls();
  return (roomId) => {
    const snapshot = engine.getSnapshot(roomId);
    if (snapshot === undefined) return [];
    return [...roomServers.of(snapshot)].filter((server) => server !== serverName && isAllowed(snapshot, server));
  };
}
