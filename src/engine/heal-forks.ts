/**
 * Keeps the forward extremities of a room few: each makes every next event and every resolution dearer, and a peer may make
 * as many as it likes. Where there are too many and nobody of ours happens to say something, a dummy event of a local
 * member refers to them. It follows the stream, so that no event waits for it; clients are not shown it.
 *
 * NOTSPEC: `org.matrix.dummy_event` is what servers of the field send for this.
 */
import { type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { canSend } from '../protocol/power-levels.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import type { Hub } from '../streams/hub.ts';
import { joinedMembers, type RoomSnapshot } from './room-snapshot.ts';
import type { EventTemplate, RoomEngine } from './types.ts';
import { DUMMY_TYPE } from './visible-events.ts';

/** Half of what an event may refer to: one event heals them all, and a busy room rarely has as many. */
const MAX_EXTREMITIES = 10;

/** Of 19 extremities each; who makes more of them meanwhile is healed at their next event. */
const MAX_ROUNDS = 60;

export interface ForkHealerOptions {
  readonly engine: Pick<RoomEngine, 'send'>;
  readonly hub: Hub;
  readonly serverName: ServerName;
  readonly onFailed: (cause: unknown) => void;
}

export interface ForkHealer extends AsyncDisposable {
  /** Resolves when nothing is being healed. */
  idle(): Promise<void>;
}

export function createForkHealer({ engine, hub, serverName, onFailed }: ForkHealerOptions): ForkHealer {
  const healing = new Map<string, Promise<void>>();
  async function heal(roomId: RoomId): Promise<void> {
    const decide = (snapshot: RoomSnapshot): readonly EventTemplate[] => dummyEvent(snapshot, serverName);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const sent = await engine.send({ roomId, decide });
      if (sent.length === 0) return;
    }
  }

  const following = hub.follow((batch) => {
    for (const { row } of batch.rowsOf(pduStream)) {
      const { roomId, forwardExtremities } = row.head;
      if (forwardExtremities.length <= MAX_EXTREMITIES || healing.has(roomId)) continue;
      const healed = heal(roomId).catch(onFailed);
      healing.set(
        roomId,
        healed.finally(() => healing.delete(roomId)),
      );
    }
  });
  const idle = async (): Promise<void> => {
    await Promise.all(healing.values());
  };
  return {
    idle,
    async [Symbol.asyncDispose]() {
      following[Symbol.dispose]();
      await idle();
    },
  };
}

function dummyEvent(snapshot: RoomSnapshot, serverName: ServerName): readonly EventTemplate[] {
  // Somebody may have healed it meanwhile.
  if (snapshot.parts.extremities.length <= MAX_EXTREMITIES) return [];
  const sender = findSender(snapshot, serverName);
  return sender === undefined ? [] : [{ type: DUMMY_TYPE, sender, content: {} }];
}

function findSender(snapshot: RoomSnapshot, serverName: ServerName): UserId | undefined {
  const event = { type: DUMMY_TYPE, isState: false };
  for (const userId of joinedMembers(snapshot)) {
    if (serverNameOf(userId) === serverName && canSend(snapshot, { ...event, userId }, snapshot.version)) return userId;
  }
  return undefined;
}
