/**
 * The least that sending a message to many servers can cost, in a process of its own: an event signed once, and for each
 * server a transaction signed and posted with undici. Told by its parent which servers, and then each message.
 */
import { readFileSync } from 'node:fs';
import { Agent } from 'undici';
import { encodeCanonicalJson } from '../src/protocol/canonical-json.ts';
import { signRequest } from '../src/protocol/request-signing.ts';
import { createSigningKey, signJson } from '../src/protocol/signing.ts';

const ORIGIN = 'floor.example';
const key = createSigningKey(Buffer.alloc(32, 7), 'floor');
const agent = new Agent({ connect: { ca: readFileSync(process.argv[2] ?? '', 'utf8') } });
let serverNames: readonly string[] = [];
let count = 0;

process.on('message', (told: { readonly serverNames?: readonly string[]; readonly body?: string }) => {
  serverNames = told.serverNames ?? serverNames;
  if (told.body === undefined) return;
  postAll(told.body).then(() => process.send?.('posted'));
});

async function postAll(body: string): Promise<void> {
  count += 1;
  const event = { type: 'm.room.message', room_id: '!room:floor', sender: '@a:floor', content: { body }, depth: count };
  const pdu = signJson(event, ORIGIN, key);
  const content = encodeCanonicalJson({ origin: ORIGIN, origin_server_ts: count, pdus: [pdu], edus: [] });
  const path = `/_matrix/federation/v1/send/${count}`;
  await Promise.all(
    serverNames.map(async (destination) => {
      const authorization = signRequest({ method: 'PUT', uri: path, origin: ORIGIN, destination, content }, key);
      const headers = { authorization, 'content-type': 'application/json' };
      const answer = await agent.request({
        origin: `https://${destination}`,
        method: 'PUT',
        path,
        headers,
        body: content,
      });
      await answer.body.dump();
    }),
  );
}
