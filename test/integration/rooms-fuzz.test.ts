/**
 * Every endpoint of rooms, asked for with whatever its declaration lets one think of: no answer is a fault of the server,
 * every refusal says why, and none hangs.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { roomEndpoints } from '../../src/api/client/room-endpoints.ts';
import { requestsFor } from '../support/fuzz-requests.ts';
import { at } from '../support/json.ts';
import { type RoomsServer, startRoomsServer } from '../support/rooms-server.ts';

/** Requests to each endpoint. */
const RUNS = 60;
/** Long enough for the slowest machine; what takes this long hangs. */
const HANGS_AFTER_MS = 30_000;

describe('limits 22 and 40: hostile requests to the endpoints of rooms', () => {
  let server: RoomsServer;
  const known: string[] = [];
  before(async () => {
    server = await startRoomsServer();
    const alice = server.as('alice');
    const room = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'fuzz', name: 'fuzz' });
    const eventId = await room.send('hello');
    const reaction = { 'm.relates_to': { rel_type: 'm.thread', event_id: eventId }, body: 'x', msgtype: 'm.text' };
    await room.ok('PUT', '/send/m.room.message/thread', reaction);
    const space = await alice.createRoom({ creation_content: { type: 'm.space' } });
    await space.setState('m.space.child', { via: ['test.example'] }, room.roomId);
    known.push(room.roomId, space.roomId, eventId, alice.userId, server.as('bob').userId, '#fuzz:test.example');
    known.push('m.room.message', 'm.room.topic', 'm.thread', '11', '12', 'public', 'private');
  });
  after(() => server[Symbol.asyncDispose]());

  async function check(request: { method: string; path: string; body: string | undefined }): Promise<void> {
    const answer = await fetch(`${server.url}${request.path}`, {
      method: request.method,
      headers: { authorization: 'Bearer alice', 'content-type': 'application/json' },
      signal: AbortSignal.timeout(HANGS_AFTER_MS),
      ...(request.body === undefined ? {} : { body: request.body }),
    });
    const text = await answer.text();
    // That another server cannot be reached is no fault of ours.
    const asksOther = answer.status === 502 && request.path.includes('server=');
    assert.ok(answer.status < 500 || asksOther, `${answer.status} ${text}`);
    const body: unknown = JSON.parse(text);
    if (answer.status >= 400) assert.match(String(at(body, 'errcode')), /^M_[A-Z_]+$/);
  }

  test('all of them', async (context) => {
    for (const endpoint of roomEndpoints(server.rooms)) {
      const path = endpoint.paths.find((each) => !each.includes('/r0/')) ?? '';
      await context.test(`${endpoint.method} ${path}`, () =>
        fc.assert(fc.asyncProperty(requestsFor(endpoint, path, known), check), { numRuns: RUNS }),
      );
    }
  });
});
