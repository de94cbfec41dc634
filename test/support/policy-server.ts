/**
 * A scripted policy server in a room of a whole homeserver: it signs what it is asked about, unless a test has it do
 * something else, and remembers what that was.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { secureRandom } from '../../src/lib/random.ts';
import type { JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { POLICY_KEY_ID } from '../../src/protocol/policy-server.ts';
import { redactPdu } from '../../src/protocol/redaction.ts';
import { createSigningKey, signedText } from '../../src/protocol/signing.ts';
import type { TestAuthority } from './certificates.ts';
import { versionOf } from './engine.ts';
import { type ScriptedServer, startScriptedServer, type TestClient, type TestHomeserver } from './federation.ts';
import { PeerRoom } from './peer-room.ts';

export interface PolicyAnswer {
  readonly status: number;
  readonly body: JsonObject;
}

export interface ScriptedPolicyServer extends AsyncDisposable {
  readonly server: ScriptedServer;
  /** The events that it was asked about, in order. */
  readonly asked: Pdu[];
  readonly publicKey: string;
  /** What it answers; a rejection breaks the connection. */
  decide: (pdu: Pdu) => PolicyAnswer | Promise<PolicyAnswer>;
  /** Its signature over an event, as an answer. */
  signed(pdu: Pdu): PolicyAnswer;
  /** The event with its signature in it. */
  withSignature(pdu: Pdu): Pdu;
}

/** In rooms of one version. */
export async function startPolicyServer(authority: TestAuthority, version: string): Promise<ScriptedPolicyServer> {
  const server = await startScriptedServer(authority);
  const key = createSigningKey(secureRandom.bytes(32), 'policy_server');
  const sign = (pdu: Pdu): string => key.sign(signedText(redactPdu(pdu, versionOf(version))));
  const policy: ScriptedPolicyServer = {
    server,
    asked: [],
    publicKey: key.publicKey,
    decide: (pdu) => policy.signed(pdu),
    signed: (pdu) => ({ status: 200, body: { [server.serverName]: { [POLICY_KEY_ID]: sign(pdu) } } }),
    withSignature(pdu) {
      const earlier = pdu.signatures[server.serverName];
      const signatures = { ...pdu.signatures, [server.serverName]: { ...earlier, [POLICY_KEY_ID]: sign(pdu) } };
      return { ...pdu, signatures };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  server.handle = (request, response) => {
    handle(policy, request, response).catch(() => response.destroy());
  };
  return policy;
}

async function handle(policy: ScriptedPolicyServer, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url ?? '';
  const text = (await request.toArray()).join('');
  const answer = await answerTo(policy, path, text);
  response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
}

function answerTo(policy: ScriptedPolicyServer, path: string, text: string): PolicyAnswer | Promise<PolicyAnswer> {
  if (path.startsWith('/_matrix/key/')) return { status: 200, body: policy.server.keyDocument() };
  if (path.includes('/federation/v1/send/')) return { status: 200, body: { pdus: {} } };
  if (path !== '/_matrix/policy/v1/sign') return { status: 404, body: { errcode: 'M_UNRECOGNIZED', error: '' } };
  const pdu: Pdu = JSON.parse(text);
  policy.asked.push(pdu);
  return policy.decide(pdu);
}

export interface PolicedRoom {
  readonly roomId: string;
  readonly peer: PeerRoom;
}

/** A public room in which the policy server is, and which names it. */
export async function createPolicedRoom(
  policy: ScriptedPolicyServer,
  { here, creator, version }: { here: TestHomeserver; creator: TestClient; version: string },
): Promise<PolicedRoom> {
  const created = await creator.ok('POST', '/createRoom', { room_version: version, preset: 'public_chat' });
  const roomId = String((created as JsonObject)['room_id']);
  const peer = new PeerRoom(policy.server, here, { roomId, version });
  await peer.join('policy');
  await setPolicy(creator, roomId, { via: policy.server.serverName, public_keys: { ed25519: policy.publicKey } });
  await peer.learn();
  return { roomId, peer };
}

export function setPolicy(client: TestClient, roomId: string, content: JsonObject): Promise<unknown> {
  return client.ok('PUT', `/rooms/${encodeURIComponent(roomId)}/state/m.room.policy/`, content);
}
