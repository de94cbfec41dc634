/**
 * Rooms shared with a real Synapse: made on either side, in every version, joined from the other, talked and changed in, with
 * both servers restarted in between. Afterwards both have the same state, event by event.
 *
 *   node --test test/federation/synapse.test.ts       SYNAPSE_VENV: a folder to install Synapse into, and keep it there
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ROOM_VERSIONS } from '../../src/protocol/room-version.ts';
import {
  type Actor,
  change,
  createRoom,
  type Interop,
  join,
  SKIPPED,
  say,
  startInterop,
  talk,
  untilEvent,
  untilSameState,
} from '../support/interop.ts';
import { at } from '../support/json.ts';
import { inRoom } from '../support/pair.ts';
import { until } from '../support/until.ts';

const stack = new AsyncDisposableStack();
let interop: Interop;

interface SharedRoom {
  readonly roomId: string;
  readonly version: string;
  readonly host: Actor;
}

const rooms: SharedRoom[] = [];

before(async () => {
  if (SKIPPED === false) interop = stack.use(await startInterop());
});

after(() => stack.disposeAsync());

for (const version of ROOM_VERSIONS.keys()) {
  test(`version ${version}: rooms made here and there are joined from the other side`, { skip: SKIPPED }, async () => {
    const { alice, bob } = interop;
    for (const [host, guest] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      const roomId = await createRoom(host, version);
      await join(guest, roomId, host);
      await talk(host, guest, roomId);
      rooms.push({ roomId, version, host });
    }
  });
}

test('state, redactions, kicks and bans reach the other side', { skip: SKIPPED }, async () => {
  const { alice, bob, carol, dave } = interop;
  for (const { roomId, host } of rooms) {
    const [guest, other] = host === alice ? [dave, bob] : [carol, alice];
    await host.client.ok('PUT', inRoom(roomId, '/state/m.room.topic'), { topic: 'shared' });
    const eventId = await say(host, roomId, 'to be redacted');
    await host.client.ok('PUT', inRoom(roomId, `/redact/${encodeURIComponent(eventId)}/redaction`), {});
    await join(guest, roomId, host);
    await change(host, roomId, 'kick', guest);
    await change(host, roomId, 'ban', guest);
    await until(async () => {
      const { body } = await other.client.call('GET', inRoom(roomId, `/event/${encodeURIComponent(eventId)}`));
      return at(body, 'content', 'body') === undefined && at(body, 'event_id') === eventId;
    });
  }
});

test('both go on after a restart of either', { skip: SKIPPED }, async () => {
  const { alice, bob, ours, synapse } = interop;
  const [first] = rooms;
  assert.ok(first);
  await ours.stop();
  const missed = await say(bob, first.roomId, 'while the other is away');
  await ours.start();
  // Synapse tries again when it hears of us.
  await say(alice, first.roomId, 'here again');
  await untilEvent(alice, first.roomId, missed);
  await synapse.restart();
  for (const { roomId } of rooms) await talk(alice, bob, roomId);
});

test('at the end, both have the same state of every room', { skip: SKIPPED }, async () => {
  assert.equal(rooms.length, 2 * ROOM_VERSIONS.size);
  for (const { roomId } of rooms) await untilSameState(interop.alice, interop.bob, roomId);
});
