/**
 * Filters: what a client wants to see, as `/sync`, `/messages` and their like take it. Parsed once and with every
 * default filled in; unknown fields pass, while a wrong type anywhere refuses the whole filter.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#filtering
 */
import { createFilterReader, type FilterReader } from './filter-reader.ts';
import type { JsonValue } from './pdu.ts';

export interface EventFilter {
  readonly limit: number | undefined;
  /** Undefined includes all, an empty list nothing. */
  readonly types: readonly string[] | undefined;
  readonly notTypes: readonly string[];
  readonly senders: readonly string[] | undefined;
  readonly notSenders: readonly string[];
}

/** Which rooms a filter is about. */
export interface RoomSelection {
  readonly rooms: readonly string[] | undefined;
  readonly notRooms: readonly string[];
}

export interface RoomEventFilter extends EventFilter, RoomSelection {
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  readonly unreadThreadNotifications: boolean;
  readonly containsUrl: boolean | undefined;
  /** MSC3874: by the type of an event's relation. */
  readonly relTypes: readonly string[] | undefined;
  readonly notRelTypes: readonly string[];
}

export interface RoomFilter extends RoomSelection {
  readonly includeLeave: boolean;
  readonly ephemeral: RoomEventFilter;
  readonly state: RoomEventFilter;
  readonly timeline: RoomEventFilter;
  readonly accountData: RoomEventFilter;
}

export interface Filter {
  /** Undefined stands for whole events. */
  readonly eventFields: readonly string[] | undefined;
  readonly eventFormat: 'client' | 'federation';
  readonly presence: EventFilter;
  readonly accountData: EventFilter;
  readonly room: RoomFilter;
}

/** Why a filter was refused, for the answer `M_BAD_JSON`. */
export interface FilterRefusal {
  readonly error: string;
}

/** Parses the filter of a sync. */
export function parseFilter(json: JsonValue): Filter | FilterRefusal {
  return parse(json, (reader) => {
    const room = reader.section('room');
    return {
      eventFields: reader.fields('event_fields'),
      eventFormat: reader.choice('event_format', ['client', 'federation']) ?? 'client',
      presence: readEventFilter(reader.section('presence')),
      accountData: readEventFilter(reader.section('account_data')),
      room: {
        ...readRoomSelection(room),
        includeLeave: room.flag('include_leave') ?? false,
        ephemeral: readRoomEventFilter(room.section('ephemeral')),
        state: readRoomEventFilter(room.section('state')),
        timeline: readRoomEventFilter(room.section('timeline')),
        accountData: readRoomEventFilter(room.section('account_data')),
      },
    };
  });
}

/** Parses the filter of one room's events, as `/messages` and `/context` take it. */
export function parseRoomEventFilter(json: JsonValue): RoomEventFilter | FilterRefusal {
  return parse(json, readRoomEventFilter);
}

function parse<T extends object>(json: JsonValue, read: (reader: FilterReader) => T): T | FilterRefusal {
  const { reader, problems } = createFilterReader(json);
  const filter = read(reader);
  const [error] = problems;
  return error === undefined ? filter : { error };
}

function readEventFilter(reader: FilterReader): EventFilter {
  return {
    limit: reader.limit('limit'),
    types: reader.patterns('types'),
    notTypes: reader.patterns('not_types') ?? [],
    senders: reader.list('senders', '@'),
    notSenders: reader.list('not_senders', '@') ?? [],
  };
}

function readRoomSelection(reader: FilterReader): RoomSelection {
  return { rooms: reader.list('rooms', '!'), notRooms: reader.list('not_rooms', '!') ?? [] };
}

function readRoomEventFilter(reader: FilterReader): RoomEventFilter {
  return {
    ...readEventFilter(reader),
    ...readRoomSelection(reader),
    lazyLoadMembers: reader.flag('lazy_load_members') ?? false,
    includeRedundantMembers: reader.flag('include_redundant_members') ?? false,
    unreadThreadNotifications: reader.flag('unread_thread_notifications') ?? false,
    containsUrl: reader.flag('contains_url'),
    relTypes: reader.list('rel_types') ?? reader.list('org.matrix.msc3874.rel_types'),
    notRelTypes: reader.list('not_rel_types') ?? reader.list('org.matrix.msc3874.not_rel_types') ?? [],
  };
}
