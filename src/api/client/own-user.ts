/**
 * Endpoints whose path names a user: only their own.
 */
import { MatrixError } from '../../protocol/errors.ts';
import type { UserId } from '../../protocol/ids.ts';

/** The requester's id, where the path names them; M_FORBIDDEN where it names another. */
export function checkOwnUser(requester: { readonly userId: UserId }, named: string): UserId {
  if (named !== requester.userId) throw new MatrixError('M_FORBIDDEN', 'You cannot do this for another user');
  return requester.userId;
}
