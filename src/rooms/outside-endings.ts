/**
 * What other servers send of rooms that this server is not in: of all that, only how an invite or a knock of a user of ours
 * ends concerns us. Nothing of the room's state is known here, so the auth rules cannot be asked; but whoever is in the room
 * builds such an event on the membership that it ends, whose id nobody else knows.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */
import { admitPdus, admitted } from '../engine/admit-pdus.ts';
import type { PduVerifier } from '../engine/ports.ts';
import type { Receiver } from '../engine/receive-pdu.ts';
import type { RoomEngine } from '../engine/types.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { parseUserId, type RoomId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { Event, JsonValue } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { Database } from '../storage/database.ts';
import { listOutsideOfRoom, listOutsideVersions, type OutsideMembership } from '../storage/outside-memberships.ts';
import { type OutsideStandings, type Standing, standingInside, standingOf } from './outside-standing.ts';

export interface OutsideEndingsOptions {
  readonly engine: Pick<RoomEngine, 'loadSnapshot'>;
  readonly database: Database;
  readonly verifier: PduVerifier;
  readonly receiver: Receiver;
  readonly standings: OutsideStandings;
  readonly serverName: ServerName;
}

export interface OutsideEndings {
  /** Takes in events of rooms wherever they are. */
  readonly receiver: Receiver;
  /** The versions of those of the rooms that users of ours are invited to or knock on from outside. */
  loadVersions(roomIds: readonly RoomId[]): Promise<ReadonlyMap<RoomId, RoomVersion>>;
}

export function createOutsideEndings(options: OutsideEndingsOptions): OutsideEndings {
  const { engine, database, receiver, standings } = options;
  return {
    loadVersions: async (roomIds) => (roomIds.length === 0 ? new Map() : listOutsideVersions(database, roomIds)),
    receiver: {
      async receive(roomId, from, receiving) {
        const snapshot = await engine.loadSnapshot(roomId);
        if (standings.isElsewhere(snapshot)) {
          await standings.exclusive(roomId, () => receiveOutside(options, { roomId, ...from }));
        }
        // Somebody of ours may have come in just now.
        return receiver.receive(roomId, from, receiving);
      },
    },
  };
}

interface Received {
  readonly roomId: RoomId;
  readonly origin: ServerName;
  readonly pdus: readonly JsonValue[];
}

async function receiveOutside(options: OutsideEndingsOptions, received: Received): Promise<void> {
  const { engine, database, verifier, standings, serverName } = options;
  const { roomId, origin } = received;
  const concerning = received.pdus.filter((pdu) => endedUser(pdu, serverName) !== undefined);
  if (concerning.length === 0) return;
  const snapshot = await engine.loadSnapshot(roomId);
  if (!standings.isElsewhere(snapshot)) return;
  const userIds = concerning.flatMap((pdu) => endedUser(pdu, serverName) ?? []);
  const rows = new Map((await listOutsideOfRoom(database, roomId, userIds)).map((row) => [row.userId, row]));
  const version = snapshot?.version ?? [...rows.values()][0]?.version;
  if (version === undefined) return;
  const events = admitted(await admitPdus(verifier, { roomId, version }, concerning)).map(({ event }) => event);
  const ended = events.flatMap((event) => {
    const userId = endedUser(event.pdu, serverName);
    if (userId === undefined) return [];
    const row = rows.get(userId);
    const before = row === undefined ? standingInside(snapshot, userId) : standingOf(row);
    return before !== undefined && ends(event, before) ? [toEnded(event, { userId, version, via: origin })] : [];
  });
  await standings.write(ended);
}

/** An invite is taken back by the inviter; who may turn a knock away, only the room could say. */
function ends(event: Event, { membership, sender, eventId }: Standing): boolean {
  const mayEnd = membership === 'knock' || (membership === 'invite' && event.sender === sender);
  return mayEnd && event.authEvents.includes(eventId);
}

/** The user of ours whom the event takes out of the room or keeps out of it. */
function endedUser(pdu: JsonValue, serverName: ServerName): UserId | undefined {
  if (!isJsonObject(pdu) || pdu['type'] !== 'm.room.member' || !isJsonObject(pdu['content'])) return undefined;
  const { membership } = pdu['content'];
  const userId = typeof pdu['state_key'] === 'string' ? parseUserId(pdu['state_key']) : undefined;
  const isEnd = membership === 'leave' || membership === 'ban';
  return isEnd && userId !== undefined && serverNameOf(userId) === serverName ? userId : undefined;
}

interface Ending {
  readonly userId: UserId;
  readonly version: RoomVersion;
  readonly via: ServerName;
}

function toEnded(event: Event, { userId, version, via }: Ending): OutsideMembership {
  const { roomId, eventId, sender, pdu, content } = event;
  return {
    userId,
    roomId,
    membership: content['membership'] === 'ban' ? 'ban' : 'leave',
    version,
    sender,
    via,
    eventId,
    pduText: encodeCanonicalJson(pdu),
    strippedState: '[]',
  };
}
