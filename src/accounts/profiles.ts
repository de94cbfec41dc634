/**
 * Profiles: display name, avatar and further fields of local users. Changes of name and avatar are handed on to the
 * rooms that the user has joined, after the answer.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#profiles
 */
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { loadAccountByLocalpart } from '../storage/accounts.ts';
import type { Database, Transaction } from '../storage/database.ts';
import {
  deleteProfileField,
  loadProfile,
  lockProfile,
  type ProfileField,
  saveProfileField,
} from '../storage/profiles.ts';
import { formatLocalUserId, parseLocalUserId } from './localpart.ts';

/** What member events carry of a profile. */
export interface MemberProfile {
  readonly displayname?: string;
  readonly avatar_url?: string;
}

export interface ProfilesOptions {
  readonly database: Database;
  readonly serverName: string;
  /** Has the profile written into the member events of the rooms that the user has joined. */
  readonly propagation: {
    schedule(tx: Transaction, userId: UserId): Promise<unknown>;
    start(): void;
  };
}

export interface Profiles {
  /** Undefined for users who have no account here. */
  load(userId: string): Promise<JsonObject | undefined>;
  set(userId: UserId, field: string, value: JsonValue): Promise<void>;
  remove(userId: UserId, field: string): Promise<void>;
}

/** The fields that rooms see, in characters: what other servers accept. */
const TEXT_FIELDS: ReadonlyMap<string, number> = new Map([
  ['displayname', 256],
  ['avatar_url', 1000],
]);
/** The spec's bounds. */
const MAX_KEY_BYTES = 255;
/** A profile has to stay under it. */
const MAX_PROFILE_BYTES = 64 * 1024;
/** https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar */
const CUSTOM_FIELD = /^[a-z][a-z0-9._-]*$/;

export function createProfiles(options: ProfilesOptions): Profiles {
  const { database, serverName, propagation } = options;

  const findUser = async (userId: string): Promise<UserId | undefined> => {
    const localpart = parseLocalUserId(userId, serverName);
    const account = localpart === undefined ? undefined : await loadAccountByLocalpart(database, localpart);
    return account === undefined || account.isDeactivated
      ? undefined
      : formatLocalUserId(account.localpart, serverName);
  };
  const change = async (userId: UserId, field: string, work: (tx: Transaction) => Promise<void>): Promise<void> => {
    const isShownInRooms = TEXT_FIELDS.has(field);
    await database.transaction(async (tx) => {
      await lockProfile(tx, userId);
      await work(tx);
      if (isShownInRooms) await propagation.schedule(tx, userId);
    });
    if (isShownInRooms) propagation.start();
  };

  return {
    async load(asked) {
      const userId = await findUser(asked);
      if (userId === undefined) return undefined;
      const fields = await loadProfile(database, userId);
      return Object.fromEntries(fields.map(({ field, value }) => [field, value]));
    },
    async set(userId, field, value) {
      checkField(field, value);
      await change(userId, field, async (tx) => {
        if (isUnset(field, value)) return deleteProfileField(tx, userId, field);
        checkSize(await loadProfile(tx, userId), { field, value });
        await saveProfileField(tx, userId, { field, value });
      });
    },
    async remove(userId, field) {
      checkName(field);
      await change(userId, field, (tx) => deleteProfileField(tx, userId, field));
    },
  };
}

/** Clients from before the DELETE endpoint clear a name or avatar by an empty one. */
function isUnset(field: string, value: JsonValue): boolean {
  return TEXT_FIELDS.has(field) && (value === null || value === '');
}

/** Of a profile, what rooms are shown. */
export function createMemberProfileLoader(database: Database) {
  return async (userId: UserId): Promise<MemberProfile> => {
    const fields = await loadProfile(database, userId);
    const shown = fields.filter(({ field, value }) => TEXT_FIELDS.has(field) && typeof value === 'string');
    return Object.fromEntries(shown.map(({ field, value }) => [field, value]));
  };
}

function checkField(field: string, value: JsonValue): void {
  const maxLength = TEXT_FIELDS.get(field);
  if (maxLength !== undefined) {
    checkText(field, value, maxLength);
    return;
  }
  checkName(field);
}

function checkName(field: string): void {
  if (Buffer.byteLength(field) > MAX_KEY_BYTES) {
    throw new MatrixError('M_KEY_TOO_LARGE', 'The name of the field is too long');
  }
  if (!CUSTOM_FIELD.test(field)) throw new MatrixError('M_INVALID_PARAM', 'A profile field has no such name');
}

function checkText(field: string, value: JsonValue, maxLength: number): void {
  if (value === null) return;
  if (typeof value !== 'string') throw new MatrixError('M_BAD_JSON', `${field} must be a string`);
  if ([...value].length > maxLength) throw new MatrixError('M_INVALID_PARAM', `${field} is too long`);
}

function checkSize(stored: readonly ProfileField[], added: ProfileField): void {
  const fields = [...stored.filter(({ field }) => field !== added.field), added];
  const bytes = Buffer.byteLength(JSON.stringify(Object.fromEntries(fields.map(({ field, value }) => [field, value]))));
  if (bytes >= MAX_PROFILE_BYTES) throw new MatrixError('M_PROFILE_TOO_LARGE', 'The profile would become too large');
}
