/**
 * SIGKILL while the members of a room that was just joined are fetched and stored, at another moment each time: what was
 * acknowledged before is there, and in the end the room has all its members, whenever the server was killed.
 *
 *   node test/fault/partial-join-kill.test.ts [--rounds 12]
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createTestAuthority } from '../support/certificates.ts';
import { createClient, type TestClient } from '../support/federation.ts';
import { listAt, textAt } from '../support/json.ts';
import { type ScriptedResident, startScriptedResident } from '../support/scripted-resident.ts';
import { startServer } from '../support/server-process.ts';

const { values: options } = parseArgs({ options: { rounds: { type: 'string' } }, strict: false });
const ROUNDS = Number(options.rounds ?? (process.env['HAMMERHEAD_LONG_TESTS'] === '1' ? 12 : 3));
/** So many that storing and judging them takes a while. */
const MEMBERS = 400;
/** From the moment when the members are given, the kills come later from round to round. */
const KILL_SPREAD_MS = 120;

test(`a room becomes whole over ${ROUNDS} kills`, { timeout: 120_000 + ROUNDS * 60_000 }, async () => {
  await using authority = await createTestAuthority();
  await using server = await startServer({
    config: {
      federation: {
        allowed_networks: ['127.0.0.0/8'],
        certificates: authority.certificatePath,
        trusted_key_servers: [],
      },
    },
  });
  const alice = await createClient(server.url, 'alice');
  for (let round = 0; round < ROUNDS; round++) {
    await using resident = await startScriptedResident(authority);
    for (let member = 0; member < MEMBERS; member++) {
      resident.room.member(resident.remote.user(`member${member}`), 'join');
    }
    const given = Promise.withResolvers<void>();
    resident.omitsMembers = true;
    resident.giveState = (answer) => {
      if (answer['pdus'] !== undefined) given.resolve();
      return answer;
    };
    const sent = await joinAndSend(alice, resident);
    await given.promise;
    await sleep(round * KILL_SPREAD_MS);
    await server.kill();
    await server.start();
    const path = `/rooms/${encodeURIComponent(resident.room.roomId)}`;
    const members = await alice.ok('GET', `${path}/members`);
    // The creator's, and Alice's own.
    assert.equal(listAt(members, 'chunk').length, MEMBERS + 2, `members in round ${round}`);
    await alice.ok('GET', `${path}/event/${encodeURIComponent(sent)}`);
  }
});

async function joinAndSend(client: TestClient, { room, server }: ScriptedResident): Promise<string> {
  const roomId = encodeURIComponent(room.roomId);
  await client.ok('POST', `/join/${roomId}?via=${encodeURIComponent(server.serverName)}`, {});
  const message = { msgtype: 'm.text', body: 'acknowledged' };
  return textAt(await client.ok('PUT', `/rooms/${roomId}/send/m.room.message/1`, message), 'event_id');
}
