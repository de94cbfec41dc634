import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { at, listAt } from '../support/json.ts';
import { type RoomsServer, startRoomsServer, type TestRoom, userId } from '../support/rooms-server.ts';

/**
 * B5. In a room of each visibility: `early` is sent, the reader gets their membership (those who left or were banned had
 * joined, with `middle` sent meanwhile), then `late` is sent. What each may read, by endpoint: the status, and for
 * timelines which of the messages.
 */
const VISIBILITIES = ['world_readable', 'shared', 'invited', 'joined'] as const;
const READERS = ['never', 'invited', 'joined', 'left', 'banned'] as const;
type Reader = (typeof READERS)[number];
type Visibility = (typeof VISIBILITIES)[number];

/** e, m, l: the messages of a timeline that the reader sees; - for a refusal. */
const TIMELINE: Readonly<Record<Visibility, Readonly<Record<Reader, string>>>> = {
  world_readable: { never: 'el', invited: 'el', joined: 'el', left: 'eml', banned: 'eml' },
  shared: { never: '-', invited: '-', joined: 'el', left: 'em', banned: 'em' },
  invited: { never: '-', invited: '-', joined: 'l', left: 'm', banned: 'm' },
  joined: { never: '-', invited: '-', joined: 'l', left: 'm', banned: 'm' },
};
/** The messages that the reader may get one by one: an invite alone opens no timeline, but `invited` opens events. */
const EVENTS: Readonly<Record<Visibility, Readonly<Record<Reader, string>>>> = {
  world_readable: TIMELINE.world_readable,
  shared: { ...TIMELINE.shared, never: '', invited: '' },
  invited: { ...TIMELINE.invited, never: '', invited: 'l' },
  joined: { ...TIMELINE.joined, never: '', invited: '' },
};
/** Status of state, members, aliases, joined_members. */
const STATUS: Readonly<Record<Reader, readonly [state: number, members: number, aliases: number, joined: number]>> = {
  never: [403, 403, 403, 403],
  invited: [403, 403, 403, 403],
  joined: [200, 200, 200, 200],
  left: [200, 200, 403, 403],
  banned: [200, 200, 403, 403],
};
const WORLD_READABLE = [200, 200, 200] as const;

interface Sent {
  readonly room: TestRoom;
  readonly inside: TestRoom;
  readonly messages: Readonly<Record<string, string>>;
}

describe('B5: what a user may read of a room', () => {
  let server: RoomsServer;
  before(async () => {
    server = await startRoomsServer();
  });
  after(() => server[Symbol.asyncDispose]());

  async function prepare(visibility: Visibility, reader: Reader): Promise<Sent> {
    const room = await server.as('alice').createRoom({
      preset: 'private_chat',
      name: 'secret',
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: visibility } }],
    });
    const bob = server.as('bob');
    const inside = bob.room(room.roomId);
    const messages: Record<string, string> = { e: await room.send('e') };
    if (reader !== 'never') await room.invite(bob);
    if (reader !== 'never' && reader !== 'invited') await inside.join();
    if (reader === 'left' || reader === 'banned') messages['m'] = await room.send('m');
    if (reader === 'left') await inside.leave();
    if (reader === 'banned') await room.ok('POST', '/ban', { user_id: bob.userId });
    messages['l'] = await room.send('l');
    return { room, inside, messages };
  }

  const bodies = (events: readonly unknown[]): string =>
    events.map((event) => at(event, 'content', 'body') ?? '').join('');

  for (const visibility of VISIBILITIES) {
    for (const reader of READERS) {
      test(`${visibility}, ${reader}`, async () => {
        const { inside, messages } = await prepare(visibility, reader);
        const forward = await inside.get('/messages?dir=f&limit=100');
        const backward = await inside.get('/messages?dir=b&limit=100');
        const expected = TIMELINE[visibility][reader];
        assert.equal(forward.status === 403 ? '-' : bodies(listAt(forward.body, 'chunk')), expected);
        assert.equal(backward.status === 403 ? '-' : bodies(listAt(backward.body, 'chunk').toReversed()), expected);

        let events = '';
        let contexts = '';
        for (const [name, eventId] of Object.entries(messages)) {
          const event = await inside.get(`/event/${eventId}`);
          if (event.status === 200) events += name;
          else assert.deepEqual([event.status, at(event.body, 'errcode')], [404, 'M_NOT_FOUND']);
          const context = await inside.get(`/context/${eventId}?limit=100`);
          if (context.status === 200) contexts += name;
          const around = [
            ...listAt(context.body, 'events_before').toReversed(),
            ...listAt(context.body, 'events_after'),
          ];
          const mayReadState = visibility === 'world_readable' || STATUS[reader][0] === 200;
          if (context.status === 200) assert.equal(listAt(context.body, 'state').length > 0, mayReadState);
          for (const body of bodies(around)) assert.ok(EVENTS[visibility][reader].includes(body));
        }
        assert.equal(events, EVENTS[visibility][reader]);
        assert.equal(contexts, EVENTS[visibility][reader]);

        const statuses = await Promise.all(
          ['/state', '/members', '/aliases', '/joined_members'].map(async (path) => (await inside.get(path)).status),
        );
        const isOpen = visibility === 'world_readable';
        assert.deepEqual(statuses, isOpen ? [...WORLD_READABLE, STATUS[reader][3]] : STATUS[reader]);
        assert.equal((await inside.get('/state/m.room.name')).status, statuses[0]);
        assert.equal((await inside.get(`/state/m.room.member/${userId('alice')}`)).status, statuses[0]);
      });
    }
  }
});
