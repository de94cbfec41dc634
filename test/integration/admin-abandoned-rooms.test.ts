/**
 * Rooms that all local users have left are deleted by themselves, also across restarts.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, startAdminServer } from '../support/admin-server.ts';

describe('rooms that all local users have left', () => {
  const isGone = async ({ db }: AdminServer, roomId: string): Promise<boolean> => {
    const rows = await db.database.query(
      sql<{ n: number }>`select 1 as n from events where room_id = ${roomId} limit 1`,
    );
    return rows.length === 0;
  };

  test('are deleted after a while', async () => {
    await using server = await startAdminServer({ abandonedDelayMs: 0 });
    const { token } = await server.register('alice');
    const bob = await server.register('bob');
    const room = await server.user(token).createRoom({ invite: [bob.userId] });
    await server.user(bob.token).room(room.roomId).join();
    await room.leave();
    await sleep(100);
    assert.equal(await isGone(server, room.roomId), false, 'somebody is still there');
    await server.user(bob.token).room(room.roomId).leave();
    while (!(await isGone(server, room.roomId))) await sleep(5);
  });

  test('stay while somebody is invited, or came back', async () => {
    await using server = await startAdminServer({ abandonedDelayMs: 200 });
    const { token } = await server.register('alice');
    const bob = await server.register('bob');
    const user = server.user(token);
    const invited = await user.createRoom({ invite: [bob.userId] });
    await invited.leave();
    const public_ = await user.createRoom({ preset: 'public_chat' });
    await public_.leave();
    await public_.join();
    await sleep(400);
    assert.equal(await isGone(server, invited.roomId), false);
    assert.equal(await isGone(server, public_.roomId), false);
  });

  test('are found by the next start when the process ended before', async () => {
    const server = await startAdminServer({ abandonedDelayMs: 3_600_000 });
    const { token } = await server.register('alice');
    const room = await server.user(token).createRoom();
    await room.leave();
    const kept = await server.user(token).createRoom();
    await server.db.database.query(sql`delete from jobs`);
    await using next = await server.crash({ abandonedDelayMs: 0 });
    while (!(await isGone(next, room.roomId))) await sleep(5);
    assert.equal(await isGone(next, kept.roomId), false);
  });
});
