/**
 * Whether an account may open sessions at all, whatever it proved.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#account-locking
 */
import { MatrixError } from '../protocol/errors.ts';

export interface AccountFlags {
  readonly isLocked: boolean;
  readonly isDeactivated: boolean;
}

export function checkUsable(account: AccountFlags | undefined): void {
  if (account === undefined || account.isDeactivated) {
    throw new MatrixError('M_USER_DEACTIVATED', 'This account has been deactivated');
  }
  if (account.isLocked) {
    throw new MatrixError('M_USER_LOCKED', 'This account is locked', { fields: { soft_logout: true } });
  }
}
