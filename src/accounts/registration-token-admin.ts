/**
 * Registration tokens: made, changed and deleted by administrators.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import {
  deleteRegistrationToken,
  insertNewToken,
  listRegistrationTokens,
  loadRegistrationToken,
  type RegistrationToken,
  type RegistrationTokensWanted,
  updateRegistrationToken,
} from '../storage/admin-registration-tokens.ts';
import type { Database } from '../storage/database.ts';

export interface RegistrationTokenAdminOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
}

/** `null` for any number of uses, or for ever; undefined leaves it as it is. */
export interface TokenLimits {
  readonly usesAllowed?: number | null | undefined;
  readonly expiresAt?: number | null | undefined;
}

export interface RegistrationTokenAdmin {
  list(wanted: RegistrationTokensWanted): Promise<readonly RegistrationToken[]>;
  load(token: string): Promise<RegistrationToken>;
  /** A random one where none is given. */
  create(token: string | undefined, limits: TokenLimits): Promise<RegistrationToken>;
  update(token: string, limits: TokenLimits): Promise<RegistrationToken>;
  remove(token: string): Promise<void>;
}

/** The spec's grammar. */
const TOKEN = /^[A-Za-z0-9._~-]{1,64}$/;
/** 95 bits, and still short enough to be typed. */
const RANDOM_LENGTH = 16;

export function createRegistrationTokenAdmin(options: RegistrationTokenAdminOptions): RegistrationTokenAdmin {
  const { database, clock, random } = options;
  const load = async (token: string): Promise<RegistrationToken> => {
    const found = await loadRegistrationToken(database, token);
    if (found === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such registration token');
    return found;
  };
  return {
    list: (wanted) => listRegistrationTokens(database, wanted),
    load,
    async create(given, { usesAllowed = null, expiresAt = null }) {
      const token = given ?? random.alphanumeric(RANDOM_LENGTH);
      if (!TOKEN.test(token)) {
        throw new MatrixError('M_INVALID_PARAM', 'A token has 1 to 64 letters, digits, and ._~-');
      }
      const added = { token, uses_allowed: usesAllowed, expires_at: expiresAt, created_at: clock.now() };
      if (!(await insertNewToken(database, added))) throw new MatrixError('M_INVALID_PARAM', 'There is such a token');
      return { ...added, completed: 0 };
    },
    async update(token, limits) {
      const found = await load(token);
      const { usesAllowed = found.uses_allowed, expiresAt = found.expires_at } = limits;
      await updateRegistrationToken(database, { token, uses_allowed: usesAllowed, expires_at: expiresAt });
      return { ...found, uses_allowed: usesAllowed, expires_at: expiresAt };
    },
    async remove(token) {
      if (await deleteRegistrationToken(database, token)) return;
      throw new MatrixError('M_NOT_FOUND', 'There is no such registration token');
    },
  };
}
