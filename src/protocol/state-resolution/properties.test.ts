import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { EventId } from '../ids.ts';
import { getRoomVersion, type RoomVersion } from '../room-version.ts';
import { buildRoom, type EventSpec, type Fixture, idOf } from './fixtures.ts';
import { authChainOf, type ResolvedState, resolveState, type StateMap, stateKeyOf } from './index.ts';

const USERS = ['@ann:a.example', '@ben:b.example', '@cleo:c.example'];
const VERSIONS = ['1', '2', '6', '10', '12'];

interface GeneratedRoom {
  readonly version: RoomVersion;
  readonly room: Fixture;
  readonly names: readonly string[];
  readonly stateSets: readonly StateMap[];
}

/** What an event does; whether the rules allow it is left to chance. */
const action = fc.oneof(
  fc.record({
    type: fc.constant('m.room.member'),
    state_key: fc.constantFrom(...USERS),
    content: fc.record({ membership: fc.constantFrom('join', 'leave', 'ban', 'invite') }),
  }),
  fc.record({
    type: fc.constant('m.room.power_levels'),
    state_key: fc.constant(''),
    content: fc.record({ users: fc.dictionary(fc.constantFrom(...USERS.slice(1)), fc.constantFrom(0, 50, 100)) }),
  }),
  fc.record({
    type: fc.constant('m.room.join_rules'),
    state_key: fc.constant(''),
    content: fc.record({ join_rule: fc.constantFrom('public', 'invite') }),
  }),
  fc.record({
    type: fc.constant('m.room.topic'),
    state_key: fc.constant(''),
    content: fc.record({ topic: fc.string({ maxLength: 3 }) }),
  }),
  // Content of no shape at all, as other servers may send it.
  fc.record({
    type: fc.constantFrom('m.room.power_levels', 'm.room.member', 'm.room.join_rules'),
    state_key: fc.constant(''),
    content: fc.dictionary(fc.constantFrom('users', 'membership', 'join_rule'), fc.jsonValue({ maxDepth: 1 })),
  }),
);

/** Auth events may point anywhere, forward and in circles as well, and to events that nobody has. */
const roomWith = (span: number): fc.Arbitrary<GeneratedRoom> =>
  fc
    .record({
      version: fc.constantFrom(...VERSIONS),
      events: fc.array(
        fc.record({
          action,
          sender: fc.constantFrom(...USERS),
          auth: fc.array(fc.nat(span), { maxLength: 5 }),
          origin_server_ts: fc.nat(5),
          depth: fc.nat(5),
        }),
        { minLength: 1, maxLength: 25 },
      ),
      picks: fc.array(fc.array(fc.nat(24), { maxLength: 10 }), { minLength: 1, maxLength: 4 }),
    })
    .map(({ version, events, picks }) => {
      const specs = new Map(foundingEvents());
      for (const [index, { action: fields, auth, ...rest }] of events.entries()) {
        const auth_events = ['CREATE', ...auth.map((step) => nameOf(span > 5 ? step : index - 1 - step))];
        specs.set(nameOf(index), { ...fields, ...rest, auth_events: [...new Set(auth_events)] });
      }
      const found = getRoomVersion(version);
      assert.ok(found);
      const room = buildRoom(specs, found);
      const stateSets = picks.map((pick) =>
        room.stateOf(['CREATE', 'ANN', 'PUBLIC', ...pick.map((at) => nameOf(at % events.length))]),
      );
      return { version: found, room, names: [...specs.keys()], stateSets };
    });

const room = fc.oneof(roomWith(5), roomWith(26));

function nameOf(index: number): string {
  return index < 0 ? (['ANN', 'PUBLIC', 'PL'][-1 - index] ?? 'CREATE') : `E${index}`;
}

function foundingEvents(): [string, EventSpec][] {
  const ann = USERS[0] ?? '';
  const founding = { sender: ann, state_key: '', origin_server_ts: 0, depth: 0 };
  return [
    ['CREATE', { ...founding, type: 'm.room.create', content: { creator: ann }, auth_events: [] }],
    [
      'ANN',
      {
        ...founding,
        type: 'm.room.member',
        state_key: ann,
        content: { membership: 'join' },
        auth_events: ['CREATE'],
      },
    ],
    [
      'PUBLIC',
      {
        ...founding,
        type: 'm.room.join_rules',
        content: { join_rule: 'public' },
        auth_events: ['CREATE', 'ANN'],
      },
    ],
    [
      'PL',
      {
        ...founding,
        type: 'm.room.power_levels',
        content: { users: { '@ben:b.example': 100 } },
        auth_events: ['CREATE', 'ANN'],
      },
    ],
  ];
}

function resolve({ version, room: { lookup }, stateSets }: GeneratedRoom): ResolvedState {
  return resolveState({ version, stateSets, events: lookup });
}

function sorted(state: StateMap): readonly (readonly [string, EventId])[] {
  return [...state].toSorted(([x], [y]) => (x < y ? -1 : 1));
}

function shuffled<T>(list: readonly T[], seed: number): T[] {
  const keyed = list.map((item, index) => ({ item, key: Math.imul(index + 1, 2654435761 ^ seed) }));
  return keyed.toSorted((x, y) => x.key - y.key).map(({ item }) => item);
}

describe('resolveState', () => {
  test('does not depend on the order of the state sets nor of what is in them', () => {
    fc.assert(
      fc.property(room, fc.integer(), (generated, seed) => {
        const stateSets = shuffled(generated.stateSets, seed).map((set) => new Map(shuffled([...set], seed)));
        assert.deepEqual(sorted(resolve({ ...generated, stateSets }).state), sorted(resolve(generated).state));
      }),
    );
  });

  test('gives a state set that is resolved with itself back', () => {
    fc.assert(
      fc.property(room, fc.integer({ min: 1, max: 4 }), (generated, times) => {
        const [first = new Map()] = generated.stateSets;
        const { state, conflicted } = resolve({ ...generated, stateSets: Array.from({ length: times }, () => first) });
        assert.deepEqual(sorted(state), sorted(first));
        assert.equal(conflicted, 0);
      }),
    );
  });

  test('throws at no room, whole or with holes', () => {
    fc.assert(
      fc.property(room, fc.nat(5), (generated, hole) => {
        const { lookup } = generated.room;
        const names = generated.names.filter((_, index) => index % 6 !== hole).map(idOf);
        const withHoles = { ...generated.room, lookup: (id: EventId) => (names.includes(id) ? lookup(id) : undefined) };
        const { state } = resolve({ ...generated, room: withHoles });
        const known = new Set(generated.stateSets.flatMap((set) => [...set.keys()]));
        assert.ok([...state.values()].every((id) => generated.names.map(idOf).includes(id)));
        // A key can come from the auth difference as well, but never out of nowhere.
        assert.ok([...state.keys()].every((key) => known.has(key) || key.startsWith('m.room.')));
      }),
    );
  });

  test('keeps what every state set agrees on', () => {
    fc.assert(
      fc.property(room, (generated) => {
        const { state } = resolve(generated);
        const [first = new Map(), ...rest] = generated.stateSets;
        for (const [key, id] of first) {
          if (rest.every((set) => set.get(key) === id)) assert.equal(state.get(key), id);
        }
      }),
    );
  });

  test('resolves nothing to nothing', () => {
    const version = getRoomVersion('12');
    assert.ok(version);
    assert.equal(resolveState({ version, stateSets: [], events: () => undefined }).state.size, 0);
  });
});

describe('authChainOf', () => {
  test('holds what can be reached, without where it starts', () => {
    const version = getRoomVersion('6');
    assert.ok(version);
    const { lookup } = buildRoom(new Map(foundingEvents()), version);
    assert.deepEqual([...authChainOf([idOf('PL')], lookup)].toSorted(), ['$ANN', '$CREATE']);
    assert.deepEqual([...authChainOf([idOf('PL'), idOf('ANN')], lookup)].toSorted(), ['$ANN', '$CREATE']);
    assert.deepEqual([...authChainOf([idOf('NOWHERE')], lookup)], []);
  });
});

describe('stateKeyOf', () => {
  test('tells type and state key apart', () => {
    assert.notEqual(stateKeyOf('a', 'bc'), stateKeyOf('ab', 'c'));
  });
});
