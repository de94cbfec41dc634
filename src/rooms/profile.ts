/**
 * What a membership event shows of a user, and where it comes from.
 */
import { MatrixError } from '../protocol/errors.ts';
import type { UserId } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';

/** As the member event carries it. */
export interface Profile {
  readonly displayname?: string;
  readonly avatar_url?: string;
}

/** Profiles of local users; for anybody else an empty one. */
export type LoadProfile = (userId: UserId) => Promise<Profile>;

/** Whether the content shows exactly this profile. */
export function showsProfile(content: JsonObject, profile: Profile): boolean {
  return (
    (content['displayname'] ?? undefined) === profile.displayname &&
    (content['avatar_url'] ?? undefined) === profile.avatar_url
  );
}

/** Rejects what other servers would not show. */
export function requireProfileFields(content: JsonObject): void {
  for (const key of ['displayname', 'avatar_url'] as const) {
    const value = content[key];
    if (value !== undefined && value !== null && typeof value !== 'string') {
      throw new MatrixError('M_BAD_JSON', `${key} has to be a string`);
    }
  }
}
