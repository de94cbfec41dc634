/**
 * Tokens of /sync: a stream token, and behind a `~` how far the reader has come in what only memory holds (typing and
 * presence), with the start of the server it counts from. Whatever takes a stream token from a client takes these too, since clients page
 * back from a `next_batch` as well as from a `prev_batch`.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
 */
import { formatStreamToken, parseStreamToken, type StreamToken } from './token.ts';

export interface SyncToken {
  readonly stream: StreamToken;
  /** Absent in tokens that name a place in a room, such as `prev_batch`. */
  readonly typing: TypingPosition | undefined;
  /** The serial of presence, of the same start of the server. */
  readonly presence?: number | undefined;
}

export interface TypingPosition {
  /** Which start of the server the serial belongs to. */
  readonly boot: string;
  readonly serial: number;
}

/** Bounds the work on a hostile token: no more than the longest that we make. */
const MAX_TOKEN_LENGTH = 2048;
const MEMORY = /^([A-Za-z0-9_-]{1,32})\.(\d{1,15})(?:\.(\d{1,15}))?$/;

export function formatSyncToken({ stream, typing, presence }: SyncToken): string {
  const text = formatStreamToken(stream);
  if (typing === undefined) return text;
  return `${text}~${typing.boot}.${typing.serial}${presence === undefined ? '' : `.${presence}`}`;
}

/** The token that `text` names, or undefined where we never made such a text. */
export function parseSyncToken(text: string): SyncToken | undefined {
  if (text.length > MAX_TOKEN_LENGTH) return undefined;
  const split = text.indexOf('~');
  if (split === -1) {
    const stream = parseStreamToken(text);
    return stream === undefined ? undefined : { stream, typing: undefined };
  }
  const stream = parseStreamToken(text.slice(0, split));
  const [, boot, serial, presence] = MEMORY.exec(text.slice(split + 1)) ?? [];
  if (stream === undefined || boot === undefined || serial === undefined) return undefined;
  return {
    stream,
    typing: { boot, serial: Number(serial) },
    ...(presence !== undefined && { presence: Number(presence) }),
  };
}
