/**
 * The tokens of `/messages` and its like: a stream position in the text form of sync's tokens, so that clients may use
 * either where the other is asked for. A token stands right behind the event at its position.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#pagination
 */
import { MatrixError } from '../protocol/errors.ts';
import { parseSyncToken } from '../streams/sync-token.ts';
import { createStreamToken, formatStreamToken, positionOf } from '../streams/token.ts';

export function formatPosition(writerId: number, position: number): string {
  // Before the first event of all lies 0.
  return formatStreamToken(createStreamToken(writerId, Math.max(position, 0)));
}

export function parsePosition(writerId: number, name: string, text: string): number {
  const token = parseSyncToken(text);
  if (token === undefined) throw new MatrixError('M_INVALID_PARAM', `${name} is not a token that this server gave`);
  return positionOf(token.stream, writerId);
}
