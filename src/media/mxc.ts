/**
 * `mxc://` URIs. Both parts are checked against their grammar before anything is looked up: neither ever becomes part of
 * a path on disk, and what cannot be an id is refused before the database or another server hears of it.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#content-repo-security-considerations
 */
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import { parseServerName } from '../protocol/ids.ts';
import type { MediaKey } from '../storage/media.ts';

const MEDIA_ID = /^[A-Za-z0-9_-]{1,255}$/;
/** 143 bits: an id is all that protects media from those who may not see the room. */
const NEW_MEDIA_ID_LENGTH = 24;

/** The media that a request's path names; M_INVALID_PARAM for what can be none. */
export function readMediaKey(params: { readonly serverName: string; readonly mediaId: string }): MediaKey {
  const origin = parseServerName(params.serverName);
  if (origin === undefined) throw new MatrixError('M_INVALID_PARAM', 'The server name is not valid');
  if (!MEDIA_ID.test(params.mediaId)) throw new MatrixError('M_INVALID_PARAM', 'The media id is not valid');
  return { origin, mediaId: params.mediaId };
}

export function createMediaId(random: Random): string {
  return random.alphanumeric(NEW_MEDIA_ID_LENGTH);
}

export function formatMxc({ origin, mediaId }: MediaKey): string {
  return `mxc://${origin}/${mediaId}`;
}
