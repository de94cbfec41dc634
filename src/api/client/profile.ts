/**
 * Profiles: readable by everybody, writable by their owner.
 */
import type { Profiles } from '../../accounts/profiles.ts';
import { defineEndpoint, type Endpoint, type Requester } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';

export interface ProfileOptions {
  readonly profiles: Profiles;
  /** Asks the user's own server; undefined where it knows no such user. */
  fetchRemoteProfile?(userId: string): Promise<JsonObject | undefined>;
}

/** A profile has 64 KiB at most; escaping can double that. */
const BODY_LIMIT = 192 * 1024;

export function profileEndpoints(options: ProfileOptions): readonly Endpoint[] {
  return [...readingEndpoints(options), ...writingEndpoints(options.profiles)];
}

function readingEndpoints({ profiles, fetchRemoteProfile }: ProfileOptions): readonly Endpoint[] {
  const find = async (userId: string): Promise<JsonObject> => {
    const profile = (await profiles.load(userId)) ?? (await fetchRemoteProfile?.(userId));
    if (profile === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no profile of this user');
    return profile;
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/profile/{userId}',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid',
      handle: ({ params }) => find(params.userId),
    }),
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/profile/{userId}/{keyName}',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname',
      async handle({ params: { userId, keyName } }) {
        const profile = await find(userId);
        if (!Object.hasOwn(profile, keyName)) {
          throw new MatrixError('M_NOT_FOUND', 'The profile of this user has no such field');
        }
        return Object.fromEntries([[keyName, profile[keyName]]]);
      },
    }),
  ];
}

function writingEndpoints(profiles: Profiles): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'PUT',
      path: '/_matrix/client/v3/profile/{userId}/{keyName}',
      auth: 'user',
      guests: true,
      rateLimit: 'profile',
      body: AnyObject,
      bodyLimit: BODY_LIMIT,
      allowNul: true,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname',
      async handle({ requester, params: { userId, keyName }, body }) {
        checkOwner(requester, userId, keyName);
        const value = Object.hasOwn(body, keyName) ? body[keyName] : undefined;
        if (value === undefined) throw new MatrixError('M_MISSING_PARAM', `The body has no ${keyName}`);
        await profiles.set(requester.userId, keyName, value);
        return {};
      },
    }),
    defineEndpoint({
      method: 'DELETE',
      path: '/_matrix/client/v3/profile/{userId}/{keyName}',
      auth: 'user',
      guests: true,
      rateLimit: 'profile',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname',
      async handle({ requester, params: { userId, keyName } }) {
        checkOwner(requester, userId, keyName);
        await profiles.remove(requester.userId, keyName);
        return {};
      },
    }),
  ];
}

function checkOwner(requester: Requester, userId: string, keyName: string): void {
  if (userId !== requester.userId) throw new MatrixError('M_FORBIDDEN', 'A profile can be changed by its owner only');
  if (requester.isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'This account is suspended');
  if (requester.isGuest && keyName !== 'displayname') {
    throw new MatrixError('M_GUEST_ACCESS_FORBIDDEN', 'Guests can change their display name only');
  }
}
