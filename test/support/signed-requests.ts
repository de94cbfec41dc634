/**
 * Requests as another server makes them: signed with the key of a scripted one, whatever they hold.
 */
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
