/**
 * The event nearest to a time, where what we have cannot be trusted to hold it: next to a gap. Other servers in the room
 * are asked, and an event of theirs that is nearer is put into the gap, so that clients can read on from it.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
 */
import type { Backfiller } from '../engine/backfill.ts';
import { otherServers } from '../engine/local-members.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { RemoteReading } from '../federation/remote-reading.ts';
import type { EventId, ServerName } from '../protocol/ids.ts';
import { findGapBefore } from '../storage/backfilled.ts';
import type { Transaction } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';

const MAX_SERVERS = 3;

export interface TimeRequest {
  /** Unix milliseconds. */
  readonly at: number;
  readonly direction: 'forward' | 'backward';
}

/** Gives an event that we have by then and did not have before; `local` is the nearest that we had. */
export type FindElsewhere = (
  snapshot: RoomSnapshot,
  request: TimeRequest,
  local: TimelineEvent | undefined,
) => Promise<EventId | undefined>;

export interface ElsewhereOptions {
  readonly database: Transaction;
  readonly serverName: ServerName;
  readonly remote: Pick<RemoteReading, 'fetchEventAtTime'>;
  readonly takeEvent: Backfiller['takeEvent'];
}

export function createTimeElsewhere({ database, serverName, remote, takeEvent }: ElsewhereOptions): FindElsewhere {
  return async (snapshot, request, local) => {
    const { roomId } = snapshot;
    const position = await findGapNextTo(database, { snapshot, request, local });
    if (position === undefined) return undefined;
    for (const server of otherServers(snapshot, new Set([serverName]), MAX_SERVERS)) {
      const found = await remote.fetchEventAtTime({ server, roomId, ...request }).catch(() => undefined);
      if (found === undefined || !isNearer(found.originServerTs, request, local)) continue;
      const { eventId } = found;
      if (await takeEvent(roomId, { position, eventId, server })) return eventId;
    }
    return undefined;
  };
}

interface Place {
  readonly snapshot: RoomSnapshot;
  readonly request: TimeRequest;
  readonly local: TimelineEvent | undefined;
}

/** The gap on the side of the event on which a nearer one would lie. */
async function findGapNextTo(tx: Transaction, { snapshot, request, local }: Place): Promise<number | undefined> {
  if (request.direction === 'forward') return local?.afterGap === true ? local.position : undefined;
  // With nothing before the time, what is missing lies before all that there is.
  return findGapBefore(tx, snapshot.roomId, local === undefined ? 0 : local.position + 1);
}

function isNearer(ts: number, { at, direction }: TimeRequest, local: TimelineEvent | undefined): boolean {
  const localTs = local?.event.originServerTs;
  if (direction === 'forward') return ts >= at && (localTs === undefined || ts < localTs);
  return ts <= at && (localTs === undefined || ts > localTs);
}
