/**
 * Changes of a room's current state that no event at the head made, as facts of the stream
 * (docs/adr/0013-forks.md).
 */
import type { RoomId } from '../protocol/ids.ts';
import type { JsonValue } from '../protocol/pdu.ts';
import type { StoredEvent } from '../storage/events.ts';
import { type StateChangeRow, stateChangeStream } from '../storage/state-change-stream.ts';
import type { Fact } from '../streams/committer.ts';
import { toReplaced } from './place-event.ts';
import type { StateDifference } from './state-resolver.ts';

export function toStateChangeFact(roomId: RoomId, { type, stateKey, before, after }: StateDifference): Fact {
  const replaces = before === undefined ? undefined : toReplaced(before.event);
  const row: StateChangeRow = {
    roomId,
    type,
    stateKey,
    current: after === undefined ? undefined : { ...after, replaces },
    replacesNid: before?.nid ?? null,
    member:
      type === 'm.room.member'
        ? { earlier: membershipOf(before), membership: membershipOf(after) ?? 'leave' }
        : undefined,
  };
  return { table: stateChangeStream, row } as Fact;
}

function membershipOf(stored: StoredEvent | undefined): string | undefined {
  const membership: JsonValue | undefined = stored?.event.content['membership'];
  return typeof membership === 'string' ? membership : undefined;
}
