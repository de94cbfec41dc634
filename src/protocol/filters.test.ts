import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  compileEventFilter,
  compileRoomSelection,
  type FilterableEvent,
  matchesEventFilter,
  projectFields,
} from './filter-match.ts';
import { MAX_EVENT_FIELDS, MAX_FILTER_LIMIT, MAX_WILDCARD_TYPES } from './filter-reader.ts';
import { parseFilter, parseRoomEventFilter } from './filters.ts';
import type { JsonObject, JsonValue } from './pdu.ts';

function readVectors<T>(file: string): readonly T[] {
  return JSON.parse(readFileSync(new URL(`../../test/vectors/filters/${file}`, import.meta.url), 'utf8')) as T[];
}

function accepted<T extends object>(result: T | { readonly error: string }): T {
  assert.ok(!('error' in result), JSON.stringify(result));
  return result;
}

function errorOf(json: JsonValue): string {
  const result = parseFilter(json);
  assert.ok('error' in result, `accepted ${JSON.stringify(json)}`);
  return result.error;
}

describe('parseFilter', () => {
  test('fills every default in', () => {
    const events = { limit: undefined, types: undefined, notTypes: [], senders: undefined, notSenders: [] };
    const rooms = { rooms: undefined, notRooms: [] };
    const roomEvents = {
      ...events,
      ...rooms,
      lazyLoadMembers: false,
      includeRedundantMembers: false,
      unreadThreadNotifications: false,
      containsUrl: undefined,
      relTypes: undefined,
      notRelTypes: [],
    };
    assert.deepEqual(parseFilter({}), {
      eventFields: undefined,
      eventFormat: 'client',
      presence: events,
      accountData: events,
      room: {
        ...rooms,
        includeLeave: false,
        ephemeral: roomEvents,
        state: roomEvents,
        timeline: roomEvents,
        accountData: roomEvents,
      },
    });
  });

  test('reads every field', () => {
    const events = { limit: 7, types: ['a'], not_types: ['b'], senders: ['@a:a'], not_senders: ['@b:b'] };
    const roomEvents = {
      ...events,
      rooms: ['!a:a'],
      not_rooms: ['!b:b'],
      lazy_load_members: true,
      include_redundant_members: true,
      unread_thread_notifications: true,
      contains_url: false,
      rel_types: ['m.thread'],
      not_rel_types: ['m.replace'],
    };
    const filter = accepted(
      parseFilter({
        event_fields: ['type'],
        event_format: 'federation',
        presence: events,
        account_data: { ...events, limit: 8 },
        room: {
          rooms: ['!c:c'],
          not_rooms: ['!d:d'],
          include_leave: true,
          ephemeral: { ...roomEvents, limit: 1 },
          state: { ...roomEvents, limit: 2 },
          timeline: { ...roomEvents, limit: 3 },
          account_data: { ...roomEvents, limit: 4 },
        },
      }),
    );
    const parsed = { limit: 7, types: ['a'], notTypes: ['b'], senders: ['@a:a'], notSenders: ['@b:b'] };
    assert.deepEqual([filter.eventFields, filter.eventFormat], [['type'], 'federation']);
    assert.deepEqual(filter.presence, parsed);
    assert.deepEqual(filter.accountData, { ...parsed, limit: 8 });
    const { room } = filter;
    assert.deepEqual([room.rooms, room.notRooms, room.includeLeave], [['!c:c'], ['!d:d'], true]);
    assert.deepEqual(
      [room.ephemeral.limit, room.state.limit, room.timeline.limit, room.accountData.limit],
      [1, 2, 3, 4],
    );
    assert.deepEqual(room.timeline, {
      ...parsed,
      limit: 3,
      rooms: ['!a:a'],
      notRooms: ['!b:b'],
      lazyLoadMembers: true,
      includeRedundantMembers: true,
      unreadThreadNotifications: true,
      containsUrl: false,
      relTypes: ['m.thread'],
      notRelTypes: ['m.replace'],
    });
  });

  test('takes good filters, and refuses bad types wherever they are', () => {
    for (const json of readVectors<JsonValue>('accepted.json')) accepted(parseFilter(json));
    for (const json of readVectors<JsonValue>('refused.json')) assert.notEqual(errorOf(json), '');
  });

  test('says which field is wrong', () => {
    assert.equal(errorOf({ room: { timeline: { limit: -1 } } }), 'room.timeline.limit must be an integer of 0 or more');
    assert.match(errorOf({ presence: { senders: ['x'] } }), /^presence\.senders must be .* start with @$/);
    assert.match(errorOf({ event_format: 'x' }), /^event_format must be client or federation$/);
  });

  test('bounds limits, lists, paths and the whole', () => {
    const timeline = (limit: number) => accepted(parseFilter({ room: { timeline: { limit } } })).room.timeline.limit;
    assert.deepEqual([timeline(1e9), timeline(MAX_FILTER_LIMIT), timeline(0)], [MAX_FILTER_LIMIT, MAX_FILTER_LIMIT, 0]);
    const wildcards = Array.from({ length: MAX_WILDCARD_TYPES + 1 }, (_, index) => `a${index}*`);
    assert.match(errorOf({ presence: { types: wildcards } }), /wildcards/);
    accepted(parseFilter({ presence: { types: wildcards.slice(1) } }));
    const fields = Array.from({ length: MAX_EVENT_FIELDS + 1 }, (_, index) => `a${index}`);
    assert.match(errorOf({ event_fields: fields }), /fields/);
    accepted(parseFilter({ event_fields: fields.slice(1) }));
    assert.match(errorOf({ event_fields: ['a.'.repeat(1000)] }), /levels deep/);
    assert.match(errorOf({ unknown: 'a'.repeat(70_000) }), /bytes/);
  });

  test('throws at no JSON', () => {
    const names = ['room', 'timeline', 'state', 'types', 'limit', 'rooms', 'event_fields', 'contains_url'];
    const json = fc.letrec<{ node: unknown }>((tie) => ({
      node: fc.oneof(fc.jsonValue(), fc.dictionary(fc.constantFrom(...names), tie('node'), { maxKeys: 4 })),
    })).node;
    fc.assert(
      fc.property(json, (value) => {
        parseFilter(value as JsonValue);
        parseRoomEventFilter(value as JsonValue);
      }),
    );
  });
});

describe('compileEventFilter', () => {
  interface Vector {
    readonly filter: JsonObject;
    readonly event: FilterableEvent;
    readonly matches: boolean;
  }
  for (const { filter, event, matches } of readVectors<Vector>('matches.json')) {
    test(`${JSON.stringify(filter)} ${matches ? 'passes' : 'stops'} ${JSON.stringify(event)}`, () => {
      assert.equal(matchesEventFilter(accepted(parseRoomEventFilter(filter)), event), matches);
    });
  }

  test('works for presence and account data', () => {
    const filter = accepted(parseFilter({ presence: { senders: ['@a:a'] }, account_data: { not_types: ['m.*'] } }));
    const presence = compileEventFilter(filter.presence);
    assert.ok(presence({ type: 'm.presence', sender: '@a:a' }) && !presence({ type: 'm.presence', sender: '@b:b' }));
    const accountData = compileEventFilter(filter.accountData);
    assert.ok(accountData({ type: 'org.x' }) && !accountData({ type: 'm.direct' }));
  });

  test('is not slowed down by hostile wildcards', () => {
    const type = `${'*a'.repeat(100)}*b`;
    const filter = compileEventFilter(accepted(parseRoomEventFilter({ types: Array(100).fill(type) })));
    assert.equal(filter({ type: 'a'.repeat(255) }), false);
  });
});

describe('compileRoomSelection', () => {
  test('prefers exclusion', () => {
    const selects = compileRoomSelection({ rooms: ['!a', '!b'], notRooms: ['!b'] });
    assert.deepEqual([selects('!a'), selects('!b'), selects('!c')], [true, false, false]);
    assert.ok(compileRoomSelection({ rooms: undefined, notRooms: [] })('!c'));
  });
});

describe('projectFields', () => {
  interface Vector {
    readonly fields: readonly string[];
    readonly event: JsonObject;
    readonly expected: JsonObject;
  }
  for (const { fields, event, expected } of readVectors<Vector>('projections.json')) {
    test(JSON.stringify(fields), () => assert.deepEqual(projectFields(event, fields), expected));
  }

  test('keeps own properties of any name', () => {
    const event = JSON.parse('{"content":{"__proto__":{"a":1,"b":2}}}') as JsonObject;
    assert.equal(JSON.stringify(projectFields(event, ['content.__proto__.a'])), '{"content":{"__proto__":{"a":1}}}');
  });
});
