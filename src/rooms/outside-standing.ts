/**
 * How users of ours stand to rooms that this server is not in: invited, knocking, or no more. Mostly that was heard of from
 * outside; of a room that all others of ours have left, the last state that was seen tells it too.
 *
 * Invariant: whoever changes a standing has read it, and asked other servers, in one exclusive piece of work; so what other
 * servers send meanwhile is judged by how the user stands afterwards.
 */
import { createLocalMembers } from '../engine/local-members.ts';
import { membershipIn, type RoomSnapshot, serversIn } from '../engine/room-snapshot.ts';
import type { RoomEngine } from '../engine/types.ts';
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { referenceHash } from '../protocol/hashes.ts';
import { type EventId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Pdu } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Database } from '../storage/database.ts';
import {
  loadOutside,
  type OutsideKey,
  type OutsideMembership,
  outsideStream,
  type PlacedOutside,
} from '../storage/outside-memberships.ts';
import type { Committer, CommitUnit, Fact } from '../streams/committer.ts';

export interface Standing {
  readonly membership: OutsideMembership['membership'];
  readonly sender: UserId;
  readonly version: RoomVersion;
  readonly eventId: EventId;
  /** Only in rooms of versions 1 and 2. */
  readonly referenceHash: string | undefined;
  readonly depth: number;
  /** Servers that know the room. */
  readonly servers: readonly ServerName[];
}

export interface OutsideStandings {
  /** Whether other servers have to be asked about the room, since nobody of ours is in it. */
  isElsewhere(snapshot: RoomSnapshot | undefined): boolean;
  /** Undefined where nothing is known of the user. */
  load(key: OutsideKey, snapshot: RoomSnapshot | undefined): Promise<Standing | undefined>;
  /** Nothing else of the room comes in while the work goes on: not even what its servers send. */
  exclusive<T>(roomId: RoomId, work: () => Promise<T>): Promise<T>;
  /** `also` in the same transaction. */
  write(rows: readonly OutsideMembership[], also?: CommitUnit['also']): Promise<void>;
}

export interface OutsideStandingsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly committer: Pick<Committer, 'commit'>;
  readonly serverName: ServerName;
  /** Shared by all that take in events of other servers: one of them at a time works on a room. */
  readonly receiving: KeyedQueue<RoomId>;
}

export function createOutsideStandings(options: OutsideStandingsOptions): OutsideStandings {
  const { database, committer, serverName } = options;
  const isInhabited = createLocalMembers(serverName);
  return {
    isElsewhere: (snapshot) => snapshot === undefined || (!isInhabited(snapshot) && serversIn(snapshot).size > 0),
    async load(key, snapshot) {
      const row = await loadOutside(database, key);
      return row === undefined ? standingInside(snapshot, key.userId) : standingOf(row);
    },
    exclusive: (roomId, work) => options.receiving.run(roomId, work),
    async write(rows, also) {
      const facts = rows.map((row) => ({ table: outsideStream, row }) as Fact);
      if (facts.length > 0) await committer.commit({ facts, also });
    },
  };
}

export function standingOf(row: PlacedOutside): Standing {
  const { membership, version, eventId, sender, via } = row;
  // Our own text, whose format was checked when it was stored.
  const pdu = parseJsonText(row.pduText) as Pdu;
  return {
    membership,
    sender,
    version,
    eventId,
    referenceHash: version.eventIds === 'server' ? referenceHash(pdu, version) : undefined,
    depth: pdu.depth,
    servers: [...new Set([via, serverNameOf(sender)])],
  };
}

export function standingInside(snapshot: RoomSnapshot | undefined, userId: UserId): Standing | undefined {
  const entry = snapshot?.get('m.room.member', userId);
  const membership = membershipIn(entry?.content);
  if (snapshot === undefined || entry === undefined || membership === undefined || membership === 'join') {
    return undefined;
  }
  return {
    membership,
    sender: entry.sender,
    version: snapshot.version,
    eventId: entry.eventId,
    referenceHash: entry.referenceHash,
    depth: snapshot.parts.depth,
    servers: [...new Set([serverNameOf(entry.sender), ...serversIn(snapshot)])],
  };
}
