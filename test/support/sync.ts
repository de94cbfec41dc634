/**
 * A sync on a real engine and database, without HTTP: what the sync tests drive. Answers are parsed, and every statement
 * to the database is counted.
 */
import { createAccountData } from '../../src/accounts/account-data.ts';
import { createPushRules } from '../../src/accounts/push-rules.ts';
import { createVisibility } from '../../src/engine/visible-events.ts';
import { createPresence } from '../../src/ephemeral/presence.ts';
import { createReceipts } from '../../src/ephemeral/receipts.ts';
import { createSharedRooms } from '../../src/ephemeral/shared-rooms.ts';
import { createTyping } from '../../src/ephemeral/typing.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import type { JsonObject } from '../../src/protocol/pdu.ts';
import { followNotifications } from '../../src/push/follow-notifications.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { SyncRequest } from '../../src/sync/types.ts';
import { SERVER, type TestEngine } from './engine.ts';

export interface ClientEvent {
  readonly origin_server_ts?: number;
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly state_key?: string;
  readonly content: JsonObject;
  readonly unsigned: JsonObject;
}

/** Its timers do not keep a test alive that is over. */
const idleClock: Clock = {
  ...systemClock,
  after(delay, callback) {
    const timer = setTimeout(callback, delay).unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};

/** Asked about to wait for the follower of notifications. */
const NOBODY = `@nobody:${SERVER}` as UserId;
const NOWHERE = '!nowhere' as RoomId;

interface Events {
  readonly events: readonly ClientEvent[];
}

export interface SyncedRoom {
  readonly timeline: Events & { readonly limited: boolean; readonly prev_batch: string };
  readonly state: Events;
  readonly state_after?: Events;
  readonly ephemeral?: Events;
  readonly account_data?: Events;
  readonly summary?: JsonObject;
  readonly unread_notifications?: JsonObject;
  readonly unread_thread_notifications?: JsonObject;
  readonly invite_state?: Events;
}

export interface Synced {
  readonly next_batch: string;
  readonly account_data?: Events;
  readonly presence?: Events;
  readonly rooms?: {
    readonly [section in 'join' | 'invite' | 'knock' | 'leave']?: { readonly [roomId: string]: SyncedRoom };
  };
}

export type SyncParameters = Partial<Omit<SyncRequest, 'userId' | 'filter'>> & { readonly filter?: object | string };

export function createTestSync({ engine, committer, hub, db }: TestEngine) {
  const { database } = db;
  const typing = createTyping({ clock: systemClock, boot: 'test' });
  const visibility = createVisibility({ engine, database });
  // Tests that look at what is written flush; the others must not find a statement that nobody asked for.
  const notifications = followNotifications({
    database,
    hub,
    committer,
    rooms: engine,
    clock: systemClock,
    logger: silentLogger,
    serverName: SERVER,
    flushDelayMs: Infinity,
    maxBehindMs: 60_000,
  });
  const presence = createPresence({ database, hub, clock: idleClock, logger: silentLogger, flushDelayMs: Infinity });
  const sharedRooms = createSharedRooms({ database, hub });
  const sync = createSync({
    database,
    engine,
    visibility,
    typing,
    unread: notifications,
    presenceParts: { presence, sharedRooms },
    logger: silentLogger,
    hub,
    committer,
    clock: systemClock,
  });
  const accountData = createAccountData({ database, committer });
  const receipts = createReceipts({ database, committer, rooms: engine, clock: systemClock });
  return {
    sync,
    presence,
    sharedRooms,
    notifications,
    typing,
    [Symbol.dispose]: () => typing[Symbol.dispose](),
    visibility,
    accountData,
    receipts,
    pushRules: createPushRules({ accountData }),
    async get(userId: UserId, { filter, ...parameters }: SyncParameters = {}): Promise<Synced> {
      const answer = await sync.handle({
        userId,
        deviceId: 'DEVICE',
        since: undefined,
        filter: typeof filter === 'object' ? JSON.stringify(filter) : filter,
        fullState: false,
        useStateAfter: false,
        timeout: 0,
        setPresence: 'online',
        signal: new AbortController().signal,
        ...parameters,
      });
      let text = '';
      for await (const piece of typeof answer === 'string' || Buffer.isBuffer(answer) ? [answer] : answer) {
        text += piece.toString();
      }
      return JSON.parse(text) as Synced;
    },
    /** How many statements `work` costs outside the committer. */
    async count(work: () => Promise<unknown>): Promise<number> {
      await notifications.count(NOBODY, [NOWHERE], committer.position);
      const before = database.stats.statements;
      await work();
      return database.stats.statements - before;
    },
  };
}

export const joinedRoom = (synced: Synced, roomId: RoomId): SyncedRoom | undefined => synced.rooms?.join?.[roomId];
export const bodies = (room: SyncedRoom | undefined): readonly unknown[] =>
  (room?.timeline.events ?? []).filter(({ type }) => type === 'm.room.message').map(({ content }) => content['body']);
