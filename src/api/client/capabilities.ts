/**
 * What a client may count on: room versions, and which changes the user can make.
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { UserId } from '../../protocol/ids.ts';
import { ROOM_VERSIONS } from '../../protocol/room-version.ts';

export interface CapabilitiesOptions {
  readonly defaultRoomVersion: string;
  readonly isAdmin: (userId: UserId) => Promise<boolean>;
  allowsLoginTokens(): boolean;
}

/** Only administrators are told of it. */
const MODERATION = { 'm.account_moderation': { lock: true, suspend: true } };

export function capabilitiesEndpoints(options: CapabilitiesOptions): readonly Endpoint[] {
  const available = Object.fromEntries([...ROOM_VERSIONS.keys()].map((id) => [id, 'stable']));
  const capabilities = {
    'm.room_versions': { default: options.defaultRoomVersion, available },
    'm.change_password': { enabled: true },
    'm.profile_fields': { enabled: true },
    'm.set_displayname': { enabled: true },
    'm.set_avatar_url': { enabled: true },
    'm.3pid_changes': { enabled: false },
    'm.forget_forced_upon_leave': { enabled: false },
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v3/capabilities',
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities',
      async handle({ requester }) {
        const isAdmin = await options.isAdmin(requester.userId);
        const loginTokens = { 'm.get_login_token': { enabled: options.allowsLoginTokens() } };
        return { capabilities: { ...capabilities, ...loginTokens, ...(isAdmin ? MODERATION : {}) } };
      },
    }),
  ];
}
