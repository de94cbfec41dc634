/**
 * Server notices: one room for each user, whose invite cannot be rejected.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startAdminServer } from '../support/admin-server.ts';
import { at, entriesAt, listAt, textAt } from '../support/json.ts';

const PATH = '/_synapse/admin/v1/send_server_notice';

describe('server notices', () => {
  test('go to a room of their own, that its user may leave once joined, and never reject', async () => {
    await using server = await startAdminServer();
    const { token, userId } = await server.register('alice');
    const notice = { user_id: userId, content: { msgtype: 'm.text', body: 'maintenance tonight' } };
    const alice = server.user(token);
    const sync = () => server.request('GET', '/_matrix/client/v3/sync', { token });
    const inviteOf = (body: unknown) => entriesAt(body, 'rooms', 'invite')[0];

    assert.equal((await server.request('POST', PATH, { token, body: notice })).status, 403);
    const sent = await server.request('POST', PATH, { token: server.admin, body: notice });
    const eventId = textAt(sent.body, 'event_id');
    const [roomId = '', invite] = inviteOf((await sync()).body) ?? [];
    const senders = listAt(invite, 'invite_state', 'events').map((event) => at(event, 'sender'));
    assert.ok(senders.every((sender) => sender === '@_server:test.example'));

    const room = alice.room(roomId);
    for (const rejection of [
      () => room.call('POST', '/leave', {}),
      () => room.call('PUT', `/state/m.room.member/${encodeURIComponent(userId)}`, { membership: 'leave' }),
    ]) {
      const { status, body } = await rejection();
      assert.deepEqual([status, at(body, 'errcode')], [403, 'M_CANNOT_LEAVE_SERVER_NOTICE_ROOM']);
    }
    await room.join();
    assert.ok(JSON.stringify((await sync()).body).includes(eventId));
    assert.equal((await room.call('PUT', '/send/m.room.message/1', { msgtype: 'm.text', body: 'hello?' })).status, 403);
    await room.leave();

    await server.request('POST', PATH, { token: server.admin, body: notice });
    assert.equal(inviteOf((await sync()).body)?.[0], roomId, 'the same room');
  });

  test('with a transaction id are sent once', async () => {
    await using server = await startAdminServer();
    const { userId } = await server.register('alice');
    const body = { user_id: userId, content: { msgtype: 'm.text', body: 'once' } };
    const send = (txnId: string) => server.request('PUT', `${PATH}/${txnId}`, { token: server.admin, body });
    const [first, second] = await Promise.all([send('1'), send('1')]);
    assert.equal(textAt(first.body, 'event_id'), textAt(second.body, 'event_id'));
    assert.notEqual(textAt((await send('2')).body, 'event_id'), textAt(first.body, 'event_id'));
  });

  test('need a user of this server', async () => {
    await using server = await startAdminServer();
    for (const user of ['@nobody:test.example', '@root:other.example']) {
      const body = { user_id: user, content: {} };
      assert.equal((await server.request('POST', PATH, { token: server.admin, body })).status, 404);
    }
  });

  test('a deactivated user leaves the notices too', async () => {
    await using server = await startAdminServer();
    const { userId } = await server.register('alice');
    await server.request('POST', PATH, { token: server.admin, body: { user_id: userId, content: { body: 'x' } } });
    assert.equal((await server.api('POST', '/users/alice/deactivate', {})).status, 200);
    assert.deepEqual(at((await server.api('GET', '/users/alice')).body, 'rooms', 'invite'), []);
  });
});
