import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventId, RoomId, ServerName } from '../protocol/ids.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { createRemoteRooms } from './remote-rooms.ts';

const GOOD = ['$a:b', `$${'x'.repeat(43)}`];
const BAD: readonly JsonValue[] = ['$a\0', '\0', '', '$', 'a', '$\ud800', `$${'x'.repeat(255)}`, null, 5, {}, ['$a:b']];

test('L7: of the ids of a state only such are taken as an event may have', async () => {
  const answer: JsonObject = { pdu_ids: [...BAD, ...GOOD], auth_chain_ids: [...GOOD, ...BAD] };
  const rooms = createRemoteRooms({ fetchJson: async () => answer });
  const question = { server: 'a.example' as ServerName, roomId: '!r:a.example' as RoomId, eventId: '$e' as EventId };
  assert.deepEqual(await rooms.fetchStateIds(question), { stateIds: GOOD, authChainIds: GOOD });
  const nothing = createRemoteRooms({ fetchJson: async () => ({ pdu_ids: 'x' }) });
  assert.deepEqual(await nothing.fetchStateIds(question), { stateIds: [], authChainIds: [] });
});
