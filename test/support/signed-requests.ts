/**
 * Requests as another server makes them: signed with the key of a scripted one, whatever they hold.
 */
import { secureRandom } from '../../src/lib/random.ts';
import { encodeCanonicalJson } from '../../src/protocol/canonical-json.ts';
import type { JsonObject, Pdu } from '../../src/protocol/pdu.ts';
import { signRequest } from '../../src/protocol/request-signing.ts';
import type { RoomVersion } from '../../src/protocol/room-version.ts';
import { hashAndSignEvent } from '../../src/protocol/sign-event.ts';
import { call, type ScriptedServer, type TestHomeserver } from './federation.ts';

export interface SignedRequest {
  readonly method?: string;
  readonly path: string;
  readonly body?: JsonObject;
}

/** Asks the homeserver as the scripted server. */
export function askAs(
  peer: ScriptedServer,
  { url, serverName }: TestHomeserver,
  { method = 'GET', path, body }: SignedRequest,
): Promise<{ status: number; body: unknown }> {
  const content = body === undefined ? undefined : encodeCanonicalJson(body);
  const signed = { method, uri: path, origin: peer.serverName, destination: serverName, content };
  const authorization = signRequest(signed, peer.signingKey);
  return call(url, { method, path, body, headers: { authorization } });
}

/** Sends PDUs in a transaction of their own, which has to be taken. */
export async function sendPdus(
  peer: ScriptedServer,
  homeserver: TestHomeserver,
  pdus: readonly JsonObject[],
): Promise<void> {
  const path = `/_matrix/federation/v1/send/${secureRandom.alphanumeric(12)}`;
  const body = { origin: peer.serverName, origin_server_ts: Date.now(), pdus };
  const { status } = await askAs(peer, homeserver, { method: 'PUT', path, body });
  if (status !== 200) throw new Error(`the transaction was answered with ${status}`);
}

/** An event of the scripted server's, hashed and signed, with its id. */
export function signEvent(
  peer: ScriptedServer,
  version: RoomVersion,
  fields: JsonObject,
): { readonly pdu: Pdu; readonly eventId: string } {
  const body = {
    auth_events: [],
    content: {},
    depth: 10,
    origin_server_ts: Date.now(),
    prev_events: [],
    sender: `@mallory:${peer.serverName}`,
    type: 'm.room.member',
    ...fields,
  };
  const { pdu, eventId } = hashAndSignEvent(body, version, { serverName: peer.serverName, key: peer.signingKey });
  return { pdu, eventId };
}
