/**
 * User ids of this server: the strict grammar for new ones, and the way from what a client typed to a localpart.
 *
 * https://spec.matrix.org/v1.19/appendices/#user-identifiers
 */
import { MatrixError } from '../protocol/errors.ts';
import { isNewLocalpart, MAX_ID_BYTES, type UserId } from '../protocol/ids.ts';

/** The user id of a local account; its localpart was checked when the account was made. */
export function formatLocalUserId(localpart: string, serverName: string): UserId {
  // The boundary where a stored localpart becomes an id again.
  return `@${localpart}:${serverName}` as UserId;
}

/** The localpart of a user of `serverName`; undefined for anything else. */
export function parseLocalUserId(userId: string, serverName: string): string | undefined {
  const suffix = `:${serverName}`;
  const isLocal = userId.startsWith('@') && userId.endsWith(suffix) && userId.length > suffix.length + 1;
  const localpart = isLocal ? userId.slice(1, -suffix.length) : undefined;
  return localpart?.includes(':') === true ? undefined : localpart;
}

/** What to look an account up by: clients send whole user ids and bare localparts. Undefined for users of others. */
export function readLoginName(name: string, serverName: string): string | undefined {
  return name.startsWith('@') ? parseLocalUserId(name, serverName) : name;
}

/** The localpart for a new account; capitals are lowered, everything else outside the grammar is refused. */
export function readNewLocalpart(username: string, serverName: string): string {
  const localpart = lowerAscii(username);
  if (!isNewLocalpart(localpart)) {
    throw invalidUsername('A user name may hold lower case letters, digits and ._=-/+ only');
  }
  // Application services keep their users apart by the underscore.
  if (localpart.startsWith('_')) throw invalidUsername('A user name must not start with an underscore');
  if (localpart.length + serverName.length + 2 > MAX_ID_BYTES) throw invalidUsername('This user name is too long');
  return localpart;
}

/** Only A to Z: other scripts' capitals are outside the grammar and have to stay so. */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function invalidUsername(message: string): MatrixError {
  return new MatrixError('M_INVALID_USERNAME', message);
}
