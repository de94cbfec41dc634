/**
 * Whether the key by which an identity server says whose address was invited is still good: asked at the URL that the room's
 * invite names. Only the server of whoever invited asks; if others did, rooms would split where one of them gets no answer.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
 */
import { FederationError, mayPass } from '../federation/federation-error.ts';
import type { OpenLocation } from '../federation/location-client.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { type InviteKey, listSigningKeys } from '../protocol/auth-third-party-invite.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { JsonObject } from '../protocol/pdu.ts';

/** Throws a `MatrixError` where none of the keys that signed is good. */
export type RequireValidKey = (signed: JsonObject, invite: JsonObject) => Promise<void>;

/** Real invites have one or two; whoever writes the event chooses whom we ask. */
const MAX_KEYS_ASKED = 2;
const DEADLINE_MS = 10_000;
/** One boolean. */
const MAX_ANSWER_BYTES = 16 * 1024;

export function createKeyValidity(openLocation: OpenLocation): RequireValidKey {
  return async (signed, invite) => {
    const keys = listSigningKeys(signed, invite);
    // A key without a place to ask is good for ever.
    if (keys.some(({ validityUrl }) => validityUrl === undefined)) return;
    let failure: FederationError | undefined;
    for (const key of keys.slice(0, MAX_KEYS_ASKED)) {
      try {
        if (await isValid(openLocation, key)) return;
      } catch (cause) {
        if (!(cause instanceof FederationError)) throw cause;
        failure = cause;
      }
    }
    if (failure === undefined) throw new MatrixError('M_FORBIDDEN', 'The key of the identity server is not valid');
    throw new MatrixError('M_UNKNOWN', 'The identity server does not say whether its key is valid', {
      status: 502,
      cause: failure,
    });
  };
}

async function isValid(openLocation: OpenLocation, { publicKey, validityUrl = '' }: InviteKey): Promise<boolean> {
  if (!URL.canParse(validityUrl)) return false;
  const url = new URL(validityUrl);
  url.searchParams.set('public_key', publicKey);
  using answer = await openLocation(url.href, { deadlineMs: DEADLINE_MS, maxBytes: MAX_ANSWER_BYTES });
  const chunks: Buffer[] = [];
  for await (const chunk of answer.chunks) chunks.push(chunk);
  const said = readJson(Buffer.concat(chunks).toString());
  return typeof said === 'object' && said !== null && 'valid' in said && said.valid === true;
}

function readJson(text: string): unknown {
  try {
    return parseJsonText(text);
  } catch (cause) {
    throw mayPass('malformed', 'the answer is no JSON', cause);
  }
}
