/**
 * The server with a PostgreSQL that is not its own, behind a unix socket, with metrics: what a deployment behind a reverse
 * proxy looks like.
 */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { withClient } from '../../src/storage/connection.ts';
import { createTestDatabase } from '../support/database.ts';
import { findFreePort, startServer } from '../support/server-process.ts';

function getThroughSocket(socketPath: string, path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
    });
    request.on('error', reject);
  });
}

test('a foreign PostgreSQL by URL, a unix socket, and metrics on a port of their own', async () => {
  await using db = await createTestDatabase({ migrated: false });
  const [port, metricsPort] = await Promise.all([findFreePort(), findFreePort()]);
  await using server = await startServer({
    port,
    config: {
      listeners: [{ address: '127.0.0.1', port }, { unix: './hammerhead.sock' }],
      database: { url: db.connection },
      metrics: { enabled: true, address: '127.0.0.1', port: metricsPort },
    },
  });
  const versions = await getThroughSocket(join(server.directory, 'hammerhead.sock'), '/_matrix/client/versions');
  assert.equal(versions.status, 200);
  assert.ok(JSON.parse(versions.body).versions.includes('v1.19'));
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const names = ['http_request_seconds', 'commit_batch_units', 'database_connections_open', 'sync_waiting'];
  for (const name of names) assert.match(metrics, new RegExp(`hammerhead_${name}`));
  assert.match(metrics, /nodejs_eventloop_lag/);
  const tables = await withClient(db.connection, (client) =>
    client.query("select count(*)::int as count from information_schema.tables where table_name = 'events'"),
  );
  assert.deepEqual(tables.rows, [{ count: 1 }]);
  await server.stop();
});

test('a second server on the same database refuses to start', async () => {
  await using db = await createTestDatabase({ migrated: false });
  const config = { database: { url: db.connection } };
  await using first = await startServer({ config });
  assert.ok(first.pid);
  await assert.rejects(startServer({ config }), /another|running|in use/i);
});
