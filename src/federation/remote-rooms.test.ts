import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { createRemoteRooms } from './remote-rooms.ts';

const GOOD = ['$a:b', `$${'x'.repeat(43)}`];
const BAD: readonly JsonValue[] = ['$a\0', '\0', '', '$', 'a', '$\ud800', `$${'x'.repeat(255)}`, null, 5, {}, ['$a:b']];

function createRooms(answer: JsonObject) {
  return createRemoteRooms({
    client: { fetchJson: async () => answer, fetchBytes: async () => Buffer.alloc(0) },
    keyring: { prepare: async () => undefined },
    clock: systemClock,
    stopping: new AbortController().signal,
  });
}

test('L7: of the ids of a state only such are taken as an event may have', async () => {
  const answer: JsonObject = { pdu_ids: [...BAD, ...GOOD], auth_chain_ids: [...GOOD, ...BAD] };
  const rooms = createRooms(answer);
  const question = { server: 'a.example' as ServerName, roomId: '!r:a.example' as RoomId, eventId: '$e' as EventId };
  assert.deepEqual(await rooms.fetchStateIds(question), { stateIds: GOOD, authChainIds: GOOD });
  const nothing = createRooms({ pdu_ids: 'x' });
  assert.deepEqual(await nothing.fetchStateIds(question), { stateIds: [], authChainIds: [] });
});
