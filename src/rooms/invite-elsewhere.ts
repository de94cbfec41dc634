/**
 * Inviting users of other servers. Their server signs the invite before it becomes part of the room: so it is made apart
 * from the room, which goes on meanwhile, and then taken in by the door that events of other servers come by, which knows
 * what to do with an event that does not follow the newest. What is refused leaves nothing behind.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */
import { buildAllowed } from '../engine/decide-events.ts';
import type { Policing } from '../engine/policing.ts';
import type { Receiver } from '../engine/receive-pdu.ts';
import { createRoomAcls } from '../engine/room-acls.ts';
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import type { EventTemplate } from '../engine/types.ts';
import type { RemoteInvites } from '../federation/remote-invites.ts';
import type { Clock } from '../lib/clock.ts';
import { forEachLimited } from '../lib/limited-concurrency.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import { type EventId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { Event, Pdu } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { SigningKey } from '../protocol/signing.ts';
import type { Database } from '../storage/database.ts';
import { loadShownState, shownStateIn } from './shown-state.ts';
import { takeIn } from './take-in.ts';

export interface InviteElsewhereOptions {
  readonly database: Database;
  readonly receiver: Receiver;
  readonly remoteInvites: RemoteInvites;
  readonly policing: Pick<Policing, 'serverOf' | 'sign'>;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly random: Random;
  readonly clock: Clock;
}

export interface InviteElsewhere {
  /** Resolves when the invite is part of the room. */
  invite(snapshot: RoomSnapshot, template: EventTemplate): Promise<EventId>;
  /** The invites among the events of a room that is being created, signed by the servers of those who are invited. */
  cosign(events: readonly Event[], version: RoomVersion): Promise<ReadonlyMap<EventId, Pdu>>;
}

/** Servers that are asked at the same time. */
const ASKED_AT_ONCE = 8;

export function createInviteElsewhere(options: InviteElsewhereOptions): InviteElsewhere {
  const { database, remoteInvites, policing, serverName, signingKey: key, random, clock } = options;
  const isAllowed = createRoomAcls();
  return {
    async invite(snapshot, template) {
      const { roomId, version } = snapshot;
      const { event: built } = buildAllowed(template, snapshot, { serverName, key, random, now: clock.now() });
      const server = serverOf(built);
      if (!isFederated(snapshot) || !isAllowed(snapshot, server)) {
        throw new MatrixError('M_FORBIDDEN', `The room does not let users of ${server} take part`);
      }
      const policy = policing.serverOf(snapshot);
      // Before the user's server is shown it: an invite that is refused disturbs nobody.
      const event = policy === undefined ? built : await policing.sign(built, version, policy);
      const inviteState = await loadShownState(database, snapshot, event.sender);
      const pdu = await remoteInvites.fetchSigned({ server, version, event, inviteState });
      const { eventId } = event;
      await takeIn(options, { roomId, version, eventId, origin: serverName, pdu, isOutgoing: true });
      return eventId;
    },

    async cosign(events, version) {
      const invites = events.filter((event) => isInvite(event) && serverOf(event) !== serverName);
      const inviteState = shownStateIn(events, events[0]?.sender);
      if (invites.length > 0 && events[0]?.content['m.federate'] === false) {
        throw new MatrixError(
          'M_FORBIDDEN',
          'Users of other servers cannot be invited to a room that does not federate',
        );
      }
      const signed = new Map<EventId, Pdu>();
      await forEachLimited(invites, ASKED_AT_ONCE, async (event) => {
        const server = serverOf(event);
        signed.set(event.eventId, await remoteInvites.fetchSigned({ server, version, event, inviteState }));
      });
      return signed;
    },
  };
}

function isInvite({ type, content }: Event): boolean {
  return type === 'm.room.member' && content['membership'] === 'invite';
}

/** The server of the user whom a membership event that the rules allow is about. */
function serverOf({ stateKey }: Event): ServerName {
  return serverNameOf(stateKey as UserId);
}

function isFederated(snapshot: RoomSnapshot): boolean {
  return snapshot.get('m.room.create', '')?.content['m.federate'] !== false;
}
