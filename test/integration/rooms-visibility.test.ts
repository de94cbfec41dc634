/**
 * B5, B11: who may read what of a room. One table says it, by endpoint, history visibility and reader, as the spec has it;
 * each of its cells is asked for over HTTP.
 *
 * In every room Alice sets a name and sends `e` with a thread; then the reader gets the membership (those who left or were
 * banned join first), `m` is sent, those leave or are banned; then the room is renamed, Carol joins and `l` is sent.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createSyncEndpoints } from '../../src/api/client/sync.ts';
import { at, entriesAt, listAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestRoom, type TestUser, userId } from '../support/rooms-server.ts';
import { createTestSync } from '../support/sync.ts';

const VISIBILITIES = ['world_readable', 'shared', 'invited', 'joined'] as const;
const READERS = ['never', 'invited', 'joined', 'left', 'banned', 'knocked'] as const;
type Visibility = (typeof VISIBILITIES)[number];
type Reader = (typeof READERS)[number];
type Row = readonly [never: string, invited: string, joined: string, left: string, banned: string, knocked: string];

interface Scene {
  readonly user: TestUser;
  readonly room: TestRoom;
  readonly messages: Readonly<Record<'e' | 'm' | 'l', string>>;
  /** Asks the first version of the API. */
  v1(path: string): Promise<{ status: number; body: unknown }>;
}

interface Endpoint {
  readonly expected: Readonly<Record<Visibility, Row>>;
  /** What the reader got: a status where they were refused, else what is compared. */
  ask(scene: Scene): Promise<string>;
}

/** A timeline shows whole pages to whom the room is open, and to nobody else; those who left see up to their leaving. */
const PAGES: Endpoint['expected'] = {
  world_readable: ['eml', 'eml', 'eml', 'eml', 'eml', 'eml'],
  shared: ['403', '403', 'eml', 'em', 'em', '403'],
  invited: ['403', '403', 'ml', 'm', 'm', '403'],
  joined: ['403', '403', 'ml', 'm', 'm', '403'],
};
/** Single events, by the visibility at the event alone. */
const EVENTS: Endpoint['expected'] = {
  world_readable: ['eml', 'eml', 'eml', 'eml', 'eml', 'eml'],
  shared: ['', '', 'eml', 'em', 'em', ''],
  invited: ['', 'ml', 'ml', 'm', 'm', ''],
  joined: ['', '', 'ml', 'm', 'm', ''],
};
/** The state now, or as it was when the reader left. */
const MEMBERS_ONLY: Row = ['403', '403', 'after', 'before', 'before', '403'];
const STATE: Endpoint['expected'] = {
  world_readable: ['after', 'after', 'after', 'before', 'before', 'after'],
  shared: MEMBERS_ONLY,
  invited: MEMBERS_ONLY,
  joined: MEMBERS_ONLY,
};
const same = (row: Row): Endpoint['expected'] => ({ world_readable: row, shared: row, invited: row, joined: row });

const bodies = (events: readonly unknown[]): string =>
  events
    .map((event) => at(event, 'content', 'body'))
    .filter((body) => body === 'e' || body === 'm' || body === 'l')
    .join('');
const moment = (text: string): string => (text.includes('carol') ? 'after' : 'before');

/** `ask` for endpoints of which the answer is a status or what `read` finds in the body. */
function read(path: string, find: (body: unknown) => string): Endpoint['ask'] {
  return async ({ room }) => {
    const { status, body } = await room.get(path);
    return status === 200 ? find(body) : `${status}`;
  };
}

/** The messages that the reader got one by one. */
function eachMessage(ask: (scene: Scene, eventId: string) => Promise<number>): Endpoint['ask'] {
  return async (scene) => {
    let seen = '';
    for (const [name, eventId] of Object.entries(scene.messages)) {
      const status = await ask(scene, eventId);
      if (status === 200) seen += name;
      else assert.equal(status, 404);
    }
    return seen;
  };
}

const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  'messages forward': {
    expected: PAGES,
    ask: read('/messages?dir=f&limit=100', (body) => bodies(listAt(body, 'chunk'))),
  },
  'messages backward': {
    expected: PAGES,
    ask: read('/messages?dir=b&limit=100', (body) => bodies(listAt(body, 'chunk').toReversed())),
  },
  event: {
    expected: EVENTS,
    ask: eachMessage(async ({ room }, eventId) => (await room.get(`/event/${eventId}`)).status),
  },
  context: {
    expected: EVENTS,
    ask: eachMessage(async ({ room }, eventId) => (await room.get(`/context/${eventId}?limit=0`)).status),
  },
  'context around m': {
    expected: {
      world_readable: EVENTS.world_readable,
      shared: ['404', '404', 'eml', 'em', 'em', '404'],
      invited: ['404', 'ml', 'ml', 'm', 'm', '404'],
      joined: ['404', '404', 'ml', 'm', 'm', '404'],
    },
    async ask({ room, messages }) {
      const { status, body } = await room.get(`/context/${messages.m}?limit=100`);
      const around = [
        ...listAt(body, 'events_before').toReversed(),
        at(body, 'event'),
        ...listAt(body, 'events_after'),
      ];
      return status === 200 ? bodies(around) : `${status}`;
    },
  },
  'context, the state at m': {
    // Whoever sees the event need not be allowed to see who else is there. Carol came later.
    expected: {
      world_readable: ['before', 'before', 'before', 'before', 'before', 'before'],
      shared: ['404', '404', 'before', 'before', 'before', '404'],
      invited: ['404', 'none', 'before', 'before', 'before', '404'],
      joined: ['404', '404', 'before', 'before', 'before', '404'],
    },
    async ask({ room, messages }) {
      const { status, body } = await room.get(`/context/${messages.m}?limit=0`);
      if (status !== 200) return `${status}`;
      const state = listAt(body, 'state');
      return state.length === 0 ? 'none' : moment(JSON.stringify(state));
    },
  },
  relations: {
    expected: {
      world_readable: ['t', 't', 't', 't', 't', 't'],
      shared: ['404', '404', 't', 't', 't', '404'],
      invited: ['404', '404', '404', '404', '404', '404'],
      joined: ['404', '404', '404', '404', '404', '404'],
    },
    async ask({ v1, messages }) {
      const { status, body } = await v1(`/relations/${messages.e}`);
      return status === 200 ? String(at(body, 'chunk', 0, 'content', 'body')) : `${status}`;
    },
  },
  threads: {
    expected: {
      world_readable: ['e', 'e', 'e', 'e', 'e', 'e'],
      shared: ['403', '403', 'e', 'e', 'e', '403'],
      invited: ['403', '403', '', '', '', '403'],
      joined: ['403', '403', '', '', '', '403'],
    },
    async ask({ v1 }) {
      const { status, body } = await v1('/threads');
      return status === 200 ? bodies(listAt(body, 'chunk')) : `${status}`;
    },
  },
  search: {
    // Only rooms that concern the reader are searched.
    expected: { ...EVENTS, world_readable: ['', 'eml', 'eml', 'eml', 'eml', 'eml'] },
    async ask({ user, room }) {
      const found: string[] = [];
      for (const search_term of ['e', 'm', 'l']) {
        const category = { search_term, filter: { rooms: [room.roomId] } };
        const answer = await user.ok('POST', '/search', { search_categories: { room_events: category } });
        const results = at(answer, 'search_categories', 'room_events');
        found.push(bodies(listAt(results, 'results').map((result) => at(result, 'result'))));
        assert.equal(at(results, 'count'), found.at(-1)?.length);
      }
      return found.join('');
    },
  },
  'timestamp_to_event, the first': {
    // Before there is a visibility, it is `shared`: for whoever joined at some time.
    expected: {
      ...same(['403', '403', 'm.room.create', 'm.room.create', 'm.room.create', '403']),
      world_readable: [
        'm.room.history_visibility',
        'm.room.history_visibility',
        'm.room.create',
        'm.room.create',
        'm.room.create',
        'm.room.history_visibility',
      ],
    },
    ask: ({ v1, room }) => typeAt(v1, room, 'ts=0&dir=f'),
  },
  'timestamp_to_event, the last': {
    expected: {
      world_readable: ['l', 'l', 'l', 'l', 'l', 'l'],
      shared: ['403', '403', 'l', 'm.room.member', 'm.room.member', '403'],
      invited: ['403', '403', 'l', 'm.room.member', 'm.room.member', '403'],
      joined: ['403', '403', 'l', 'm.room.member', 'm.room.member', '403'],
    },
    ask: ({ v1, room }) => typeAt(v1, room, `ts=${Date.now() + 60_000}&dir=b`),
  },
  state: { expected: STATE, ask: read('/state', (body) => moment(JSON.stringify(body))) },
  'state of one type': { expected: STATE, ask: read('/state/m.room.name', (body) => String(at(body, 'name'))) },
  'state of a member': {
    expected: {
      world_readable: ['join', 'join', 'join', '404', '404', 'join'],
      shared: ['403', '403', 'join', '404', '404', '403'],
      invited: ['403', '403', 'join', '404', '404', '403'],
      joined: ['403', '403', 'join', '404', '404', '403'],
    },
    ask: read(`/state/m.room.member/${userId('carol')}`, (body) => String(at(body, 'membership'))),
  },
  members: { expected: STATE, ask: read('/members', (body) => moment(JSON.stringify(body))) },
  joined_members: {
    expected: same(['403', '403', 'after', '403', '403', '403']),
    ask: read('/joined_members', (body) => moment(JSON.stringify(body))),
  },
  aliases: {
    expected: {
      ...same(['403', '403', '200', '403', '403', '403']),
      world_readable: ['200', '200', '200', '200', '200', '200'],
    },
    ask: read('/aliases', () => '200'),
  },
  'initialSync, messages': {
    expected: PAGES,
    ask: read('/initialSync?limit=100', (body) => bodies(listAt(body, 'messages', 'chunk'))),
  },
  'initialSync, state': {
    expected: STATE,
    ask: read('/initialSync', (body) => moment(JSON.stringify(at(body, 'state')))),
  },
  'events of a room': {
    expected: {
      world_readable: PAGES.world_readable,
      shared: ['403', '403', 'eml', '403', '403', '403'],
      invited: ['403', '403', 'ml', '403', '403', '403'],
      joined: ['403', '403', 'ml', '403', '403', '403'],
    },
    async ask({ user, room }) {
      const { status, body } = await user.get(`/events?room_id=${encodeURIComponent(room.roomId)}&from=h1_1.0`);
      return status === 200 ? bodies(listAt(body, 'chunk')) : `${status}`;
    },
  },
  summary: {
    // Who may knock may look.
    expected: {
      ...same(['404', 'after', 'after', '404', '404', 'after']),
      world_readable: ['after', 'after', 'after', 'after', 'after', 'after'],
    },
    async ask({ user, room }) {
      const path = `/_matrix/client/v1/room_summary/${encodeURIComponent(room.roomId)}`;
      const { status, body } = await user.fetch(path);
      return status === 200 ? String(at(body, 'name')) : `${status}`;
    },
  },
  hierarchy: {
    expected: {
      ...same(['403', 'after', 'after', '403', '403', 'after']),
      world_readable: ['after', 'after', 'after', 'after', 'after', 'after'],
    },
    async ask({ v1 }) {
      const { status, body } = await v1('/hierarchy');
      return status === 200 ? String(at(body, 'rooms', 0, 'name')) : `${status}`;
    },
  },
  'sync, timeline': {
    // Whoever left hears nothing more, were it everybody's.
    expected: {
      world_readable: ['', 'invite', 'eml', 'em', 'em', 'knock'],
      shared: ['', 'invite', 'eml', 'em', 'em', 'knock'],
      invited: ['', 'invite', 'ml', 'm', 'm', 'knock'],
      joined: ['', 'invite', 'ml', 'm', 'm', 'knock'],
    },
    async ask(scene) {
      const { section, room } = await syncedRoom(scene);
      if (section !== 'join' && section !== 'leave') return section;
      return bodies(listAt(room, 'timeline', 'events'));
    },
  },
  'sync, all of it': {
    expected: same(['', 'before', 'after', 'before', 'before', 'before']),
    async ask(scene) {
      const { section, room } = await syncedRoom(scene);
      return section === '' ? '' : moment(JSON.stringify(room));
    },
  },
};

async function typeAt(v1: Scene['v1'], room: TestRoom, query: string): Promise<string> {
  const { status, body } = await v1(`/timestamp_to_event?${query}`);
  if (status !== 200) return `${status}`;
  const event = await room.ok('GET', `/event/${at(body, 'event_id')}`);
  return String(at(event, 'content', 'body') ?? at(event, 'type'));
}

async function syncedRoom({ user, room }: Scene): Promise<{ section: string; room: unknown }> {
  const filter = JSON.stringify({ room: { include_leave: true, timeline: { limit: 100 } } });
  const synced = await user.ok('GET', `/sync?filter=${encodeURIComponent(filter)}`);
  for (const [section, rooms] of entriesAt(synced, 'rooms')) {
    const found = at(rooms, room.roomId);
    if (found !== undefined) return { section, room: found };
  }
  return { section: '', room: undefined };
}

describe('B5, B11 and limit 29: what a user may read of a room', () => {
  let server: RoomsServer;
  const scenes = new Map<string, Scene>();
  before(async () => {
    server = await startRoomsServer({ more: (engine) => createSyncEndpoints(createTestSync(engine)) });
    for (const visibility of VISIBILITIES) {
      for (const reader of READERS) scenes.set(`${visibility} ${reader}`, await prepare(visibility, reader));
    }
  });
  after(() => server[Symbol.asyncDispose]());

  async function prepare(visibility: Visibility, reader: Reader): Promise<Scene> {
    const [alice, carol] = [server.as('alice'), server.as('carol')];
    const user = server.as(`${reader}_${visibility}`);
    const room = await alice.createRoom({
      preset: 'private_chat',
      name: 'before',
      initial_state: [
        { type: 'm.room.history_visibility', content: { history_visibility: visibility } },
        { type: 'm.room.join_rules', content: { join_rule: reader === 'knocked' ? 'knock' : 'invite' } },
      ],
    });
    const inside = user.room(room.roomId);
    const e = await room.send('e');
    const thread = { msgtype: 'm.text', body: 't', 'm.relates_to': { rel_type: 'm.thread', event_id: e } };
    await room.ok('PUT', '/send/m.room.message/thread', thread);
    if (reader === 'knocked') await user.ok('POST', `/knock/${encodeURIComponent(room.roomId)}`, {});
    else if (reader !== 'never') await room.invite(user);
    if (reader === 'joined' || reader === 'left' || reader === 'banned') await inside.join();
    const m = await room.send('m');
    if (reader === 'left') await inside.leave();
    if (reader === 'banned') await room.ok('POST', '/ban', { user_id: user.userId });
    await room.invite(carol);
    await carol.room(room.roomId).join();
    await room.setState('m.room.name', { name: 'after' });
    const l = await room.send('l');
    const v1 = (path: string) => user.fetch(`/_matrix/client/v1/rooms/${encodeURIComponent(room.roomId)}${path}`);
    return { user, room: inside, messages: { e, m, l }, v1 };
  }

  for (const [name, { expected, ask }] of Object.entries(ENDPOINTS)) {
    for (const visibility of VISIBILITIES) {
      test(`${name}, ${visibility}`, async () => {
        const seen: Record<string, string> = {};
        for (const reader of READERS) {
          const scene = scenes.get(`${visibility} ${reader}`);
          assert.ok(scene);
          seen[reader] = await ask(scene);
        }
        assert.deepEqual(
          seen,
          Object.fromEntries(READERS.map((reader, index) => [reader, expected[visibility][index]])),
        );
      });
    }
  }
});
