/**
 * Profiles of other servers' users, asked of those servers.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
 */
import { MatrixError } from '../protocol/errors.ts';
import { parseUserId, type ServerName, serverNameOf } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { type FederationClient, federationPath } from './client.ts';
import { FederationError } from './federation-error.ts';

/** Undefined for a user that this server would know itself, and for one whose server knows none. */
export type FetchRemoteProfile = (userId: string) => Promise<JsonObject | undefined>;

export interface RemoteProfilesOptions {
  readonly serverName: ServerName;
  readonly client: Pick<FederationClient, 'fetchJson'>;
}

/** A client waits for the answer. */
const DEADLINE_MS = 10_000;
/** 64 KiB of profile, escaped. */
const MAX_BYTES = 512 * 1024;

export function createRemoteProfiles({ serverName, client }: RemoteProfilesOptions): FetchRemoteProfile {
  return async (text) => {
    const userId = parseUserId(text);
    if (userId === undefined || serverNameOf(userId) === serverName) return undefined;
    try {
      return await client.fetchJson({
        destination: serverNameOf(userId),
        method: 'GET',
        path: federationPath`/_matrix/federation/v1/query/profile?user_id=${userId}`,
        deadlineMs: DEADLINE_MS,
        maxBytes: MAX_BYTES,
      });
    } catch (cause) {
      if (!(cause instanceof FederationError)) throw cause;
      if (cause.status === 404 || cause.reason === 'denied') return undefined;
      if (cause.status === 403) throw new MatrixError('M_FORBIDDEN', 'The profile cannot be looked up', { cause });
      throw new MatrixError('M_UNKNOWN', "The user's server does not answer", { status: 502, cause });
    }
  };
}
