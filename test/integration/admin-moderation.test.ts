/**
 * Moderation: reports, and media that is looked through, withdrawn and given back.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { sql } from '../../src/storage/sql.ts';
import { type AdminServer, startAdminServer } from '../support/admin-server.ts';
import { at, listAt, textAt } from '../support/json.ts';

describe('admin API: reports', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  test('are listed with filters, shown with the event, and worked on', async () => {
    const sender = await server.register('sender');
    const reader = await server.register('reader');
    const room = await server.user(sender.token).createRoom({ preset: 'public_chat' });
    const inside = server.user(reader.token).room(room.roomId);
    await inside.join();
    const eventId = await room.send('something bad');
    await inside.ok('POST', `/report/${encodeURIComponent(eventId)}`, { reason: 'look at this' });
    await inside.ok('POST', '/report', { reason: 'the whole room' });
    await server
      .user(reader.token)
      .ok('POST', `/users/${encodeURIComponent(sender.userId)}/report`, { reason: 'the person' });

    const list = async (query = '') => listAt((await server.api('GET', `/reports${query}`)).body, 'chunk');
    const kinds = async (query = '') => (await list(query)).map((report) => at(report, 'kind'));
    assert.deepEqual(await kinds(), ['user', 'room', 'event']);
    assert.deepEqual(await kinds('?kind=event'), ['event']);
    assert.deepEqual(await kinds(`?room_id=${encodeURIComponent(room.roomId)}`), ['room', 'event']);
    assert.deepEqual(await kinds(`?user_id=${encodeURIComponent(sender.userId)}`), ['user', 'event']);
    assert.deepEqual(await kinds(`?reporter=${encodeURIComponent(sender.userId)}`), []);
    assert.equal((await server.api('GET', '/reports?state=closed')).status, 400);

    const id = at((await list('?kind=event'))[0], 'report_id');
    const shown = await server.api('GET', `/reports/${id}`);
    assert.equal(textAt(shown.body, 'event', 'content', 'body'), 'something bad');
    assert.deepEqual(
      [at(shown.body, 'reason'), at(shown.body, 'state'), at(shown.body, 'user_id'), at(shown.body, 'updated_by')],
      ['look at this', 'open', sender.userId, null],
    );
    const assigned = await server.api('PATCH', `/reports/${id}`, { assignee: 'mira', note: 'asked them' });
    assert.deepEqual(
      [at(assigned.body, 'assignee'), at(assigned.body, 'note'), at(assigned.body, 'state')],
      ['mira', 'asked them', 'open'],
    );
    const resolved = await server.api('PATCH', `/reports/${id}`, { state: 'resolved', note: null });
    assert.deepEqual(
      [at(resolved.body, 'assignee'), at(resolved.body, 'note'), at(resolved.body, 'state')],
      ['mira', null, 'resolved'],
    );
    assert.equal(at(resolved.body, 'updated_by'), '@root:test.example');
    assert.deepEqual(await kinds('?state=open'), ['user', 'room']);
    assert.deepEqual(await kinds('?state=resolved&assignee=mira'), ['event']);
    assert.equal(at((await server.api('GET', '/statistics')).body, 'open_reports'), 2);
    for (const unknown of ['999', '9'.repeat(30)]) {
      assert.equal((await server.api('GET', `/reports/${unknown}`)).status, 404);
      assert.equal((await server.api('PATCH', `/reports/${unknown}`, {})).status, 404);
    }
  });

  test('B8: the content of a reported event that was redacted is not shown', async () => {
    const owner = await server.register('redactor');
    const room = await server.user(owner.token).createRoom();
    const eventId = await room.send('gone soon');
    await room.ok('POST', `/report/${encodeURIComponent(eventId)}`, {});
    await room.ok('PUT', `/redact/${encodeURIComponent(eventId)}/1`, {});
    const [report] = listAt((await server.api('GET', '/reports?limit=1')).body, 'chunk');
    const shown = await server.api('GET', `/reports/${at(report, 'report_id')}`);
    assert.deepEqual(at(shown.body, 'event', 'content'), {});
  });
});

describe('admin API: media of users and rooms', () => {
  let server: AdminServer;
  before(async () => {
    server = await startAdminServer();
  });
  after(() => server[Symbol.asyncDispose]());

  const insert = (userId: string | null, ids: readonly string[], origin = 'test.example') =>
    Promise.all(
      ids.map((id, index) =>
        server.db.database.query(sql`
          insert into media (origin, media_id, kind, user_id, sha256, size, content_type, created_at, last_access_at)
          values (${origin}, ${id}, ${origin === 'test.example' ? 'local' : 'remote'}, ${userId}, ${`sha${id}`}, 10,
            'image/png', ${1000 + index}, 1)`),
      ),
    );
  const withdrawn = async (): Promise<readonly string[]> => {
    const rows = await server.db.database.query(sql<{ media_id: string }>`
      select media_id from media where quarantined_by is not null order by media_id`);
    return rows.map((row) => row.media_id);
  };

  test('one file: shown, withdrawn, given back, protected', async () => {
    await insert(null, ['single']);
    const get = async () => (await server.api('GET', '/media/_/single')).body;
    assert.deepEqual([at(await get(), 'size'), at(await get(), 'quarantined_by')], [10, null]);
    assert.deepEqual((await server.api('PUT', '/media/_/single/quarantine')).body, {});
    assert.equal(at(await get(), 'quarantined_by'), '@root:test.example');
    await server.api('DELETE', '/media/_/single/quarantine');
    assert.equal(at(await get(), 'quarantined_by'), null);
    await server.api('PUT', '/media/test.example/single/protect');
    assert.equal(at(await get(), 'protected'), true);
    await server.api('DELETE', '/media/_/single/protect');
    assert.equal(at(await get(), 'protected'), false);
    for (const path of ['/media/_/nothing/quarantine', '/media/_/nothing/protect', '/media/%20/x/protect']) {
      assert.equal((await server.api('PUT', path)).status, 404, path);
    }
  });

  test('of a user: listed the newest first, withdrawn but for what is protected, given back', async () => {
    const { userId } = await server.register('artist');
    await insert(userId, ['u1', 'u2', 'u3']);
    await insert('@remote:other.example', ['r1'], 'other.example');
    const ids = async (name: string) =>
      listAt((await server.api('GET', `/users/${encodeURIComponent(name)}/media`)).body, 'chunk').map((one) =>
        at(one, 'media_id'),
      );
    assert.deepEqual(await ids('artist'), ['u3', 'u2', 'u1']);
    assert.deepEqual(await ids('@remote:other.example'), ['r1']);
    assert.equal((await server.api('GET', '/users/nobody/media')).status, 404);
    await server.api('PUT', '/media/_/u2/protect');
    assert.deepEqual((await server.api('PUT', '/users/artist/media/quarantine')).body, { media: 2 });
    assert.deepEqual((await server.api('PUT', '/users/artist/media/quarantine')).body, { media: 0 });
    assert.deepEqual(await withdrawn(), ['u1', 'u3']);
    assert.deepEqual((await server.api('DELETE', '/users/artist/media/quarantine')).body, { media: 2 });
    assert.deepEqual(await withdrawn(), []);
  });

  test('of a room: what its events name, also when that is on several pages; redacted events name nothing', async () => {
    const { token } = await server.register('poster');
    const room = await server.user(token).createRoom();
    await insert(null, ['m1', 'm2', 'm3', 'm4']);
    for (const id of ['m1', 'm2', 'absent']) {
      await room.ok('PUT', `/send/m.room.message/${id}`, {
        msgtype: 'm.image',
        body: 'x',
        url: `mxc://test.example/${id}`,
        info: { thumbnail_url: 'mxc://test.example/m3' },
      });
    }
    const gone = await room.ok('PUT', '/send/m.room.message/m4', { body: 'mxc://test.example/m4', msgtype: 'm.text' });
    await room.ok('PUT', `/redact/${encodeURIComponent(textAt(gone, 'event_id'))}/1`, {});
    const path = `/rooms/${encodeURIComponent(room.roomId)}/media`;
    const all = [
      ['absent', false],
      ['m3', true],
      ['m2', true],
      ['m3', true],
      ['m1', true],
      ['m3', true],
    ];
    for (const limit of [1, 2, 5, 100]) {
      const seen: unknown[] = [];
      for (let since = ''; ; ) {
        const { body } = await server.api('GET', `${path}?limit=${limit}${since}`);
        seen.push(...listAt(body, 'chunk').map((one) => [at(one, 'media_id'), at(one, 'held')]));
        const next = at(body, 'next_batch');
        if (next === undefined) break;
        since = `&since=${next}`;
      }
      assert.deepEqual(seen, all, `limit ${limit}`);
    }
    await server.api('PUT', '/media/_/m2/protect');
    assert.deepEqual((await server.api('PUT', `${path}/quarantine`)).body, { media: 2 });
    assert.deepEqual(await withdrawn(), ['m1', 'm3']);
    const [job] = listAt((await server.api('GET', '/jobs?limit=1')).body, 'chunk');
    assert.deepEqual([at(job, 'kind'), at(job, 'progress')], ['quarantine_room', { media: 2 }]);
    assert.deepEqual((await server.api('DELETE', `${path}/quarantine`)).body, { media: 2 });
    assert.deepEqual(await withdrawn(), []);
  });

  test('statistics: who uploaded the most, and which tables are the greatest', async () => {
    await insert('@heavy:test.example', ['h1', 'h2', 'h3', 'h4', 'h5']);
    const { body } = await server.api('GET', '/statistics/media?limit=1');
    assert.deepEqual(at(body, 'chunk'), [{ user_id: '@heavy:test.example', files: 5, bytes: 50 }]);
    const tables = listAt((await server.api('GET', '/statistics/tables')).body, 'chunk');
    const bytes = tables.map((table) => Number(at(table, 'bytes')));
    assert.deepEqual(
      bytes,
      bytes.toSorted((a, b) => b - a),
    );
    assert.ok(tables.some((table) => at(table, 'table') === 'events'));
  });
});
