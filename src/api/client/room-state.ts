/**
 * Reading and setting room state.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
 */
import { Type } from 'typebox';
import { renderStateEvent } from '../../engine/client-events.ts';
import { rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { RoomId, UserId } from '../../protocol/ids.ts';
import type { Rooms } from '../../rooms/rooms.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

/** The empty state key may be left out, with or without the slash before it. */
const ENTRY_PATHS = [
  ...clientPaths('/rooms/{roomId}/state/{eventType}'),
  ...clientPaths('/rooms/{roomId}/state/{eventType}/'),
  ...clientPaths('/rooms/{roomId}/state/{eventType}/{stateKey}'),
] as const;

const Format = Type.Object({ format: Type.Optional(Type.Union([Type.Literal('content'), Type.Literal('event')])) });

type Ports = Pick<Rooms, 'access' | 'setState' | 'clock'>;

export function roomStateEndpoints({ access, setState, clock }: Ports): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/rooms/{roomId}/state'),
      auth: 'user',
      guests: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstate',
      async handle({ requester, params }) {
        const roomId = readRoomId(params.roomId);
        const state = await access.loadState(await access.loadWhole(requester.userId, roomId));
        const now = clock.now();
        return rawJson(JSON.stringify(state.map((entry) => renderStateEvent(entry, roomId, now))));
      },
    }),
    defineEndpoint({
      method: 'GET',
      path: ENTRY_PATHS,
      auth: 'user',
      guests: true,
      query: Format,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidstateeventtypestatekey',
      async handle({ requester, params: { roomId: room, eventType: type, stateKey = '' }, query }) {
        const roomId = readRoomId(room);
        const key = { type, stateKey };
        const known = await access.loadStateEntry(await access.loadReadable(requester.userId, roomId), key);
        const entry = known ?? (await loadMissing({ access }, { userId: requester.userId, roomId, key }));
        if (entry === undefined) throw new MatrixError('M_NOT_FOUND', 'The room has no such state');
        return query.format === 'event' ? renderStateEvent(entry, roomId, clock.now()) : entry.content;
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: ENTRY_PATHS,
      auth: 'user',
      guests: true,
      rateLimit: 'messages',
      body: AnyObject,
      strictNumbers: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey',
      async handle({ requester, params: { roomId, eventType: type, stateKey = '' }, body: content }) {
        return { event_id: await setState(requester, { roomId: readRoomId(roomId), type, stateKey, content }) };
      },
    }),
  ];
}

interface Missing {
  readonly userId: UserId;
  readonly roomId: RoomId;
  readonly key: { readonly type: string; readonly stateKey: string };
}

/** A member of whom nothing is known may be one that is still to come. */
async function loadMissing({ access }: Pick<Ports, 'access'>, { userId, roomId, key }: Missing) {
  if (key.type !== 'm.room.member') return undefined;
  return access.loadStateEntry(await access.loadWhole(userId, roomId), key);
}
