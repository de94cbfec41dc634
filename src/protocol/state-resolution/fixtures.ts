/**
 * Rooms for the tests of state resolution: events given by short names, which become their ids.
 */
import type { EventId, RoomId, UserId } from '../ids.ts';
import type { Event, JsonObject } from '../pdu.ts';
import type { RoomVersion } from '../room-version.ts';
import { type EventLookup, type StateMap, stateKeyOf } from './types.ts';

export interface EventSpec {
  readonly type: string;
  readonly state_key?: string;
  readonly sender: string;
  readonly content: JsonObject;
  /** The names of the auth events. */
  readonly auth_events: readonly string[];
  readonly origin_server_ts: number;
  readonly depth: number;
}

export interface Fixture {
  readonly lookup: EventLookup;
  /** The state map of the events named. */
  readonly stateOf: (names: readonly string[]) => StateMap;
}

export function idOf(name: string): EventId {
  return `$${name}` as EventId;
}

/** Builds the events; in versions whose create event is no auth event it is left out of theirs. */
export function buildRoom(specs: ReadonlyMap<string, EventSpec>, version: RoomVersion): Fixture {
  const events = new Map<EventId, Event>();
  for (const [name, spec] of specs) events.set(idOf(name), buildEvent(name, spec, version));
  return {
    lookup: (id) => events.get(id),
    stateOf(names) {
      const state = new Map<string, EventId>();
      for (const name of names) {
        const spec = specs.get(name);
        if (spec?.state_key === undefined) throw new Error(`${name} is no state event of the room`);
        state.set(stateKeyOf(spec.type, spec.state_key), idOf(name));
      }
      return state;
    },
  };
}

function buildEvent(name: string, spec: EventSpec, version: RoomVersion): Event {
  const cited = spec.auth_events.filter((auth) => !version.roomIdFromCreate || auth !== 'CREATE');
  const isImplicit = version.roomIdFromCreate && spec.type === 'm.room.create';
  const room = isImplicit ? {} : { room_id: '!CREATE' };
  const { auth_events: _, ...fields } = spec;
  const stateKey = spec.state_key === undefined ? {} : { state_key: spec.state_key };
  return {
    eventId: idOf(name),
    roomId: '!CREATE' as RoomId,
    type: spec.type,
    sender: spec.sender as UserId,
    stateKey: spec.state_key,
    content: withVersion(spec, version),
    depth: spec.depth,
    originServerTs: spec.origin_server_ts,
    prevEvents: spec.type === 'm.room.create' ? [] : [idOf('PREV')],
    authEvents: cited.map(idOf),
    redacts: undefined,
    pdu: {
      ...fields,
      ...room,
      ...stateKey,
      content: withVersion(spec, version),
      hashes: { sha256: '' },
      signatures: {},
      auth_events: cited.map(idOf),
      prev_events: spec.type === 'm.room.create' ? [] : [idOf('PREV')],
    },
  };
}

function withVersion(spec: EventSpec, version: RoomVersion): JsonObject {
  return spec.type === 'm.room.create' ? { ...spec.content, room_version: version.id } : spec.content;
}
