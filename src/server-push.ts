/**
 * The part of the composition root for what reaches users beside the events of their rooms: unread counts, presence, and
 * pushes to devices that do not sync.
 */
import { createNotificationEndpoints } from './api/client/notifications.ts';
import { createPresenceEndpoints } from './api/client/presence.ts';
import { createPusherEndpoints } from './api/client/pushers.ts';
import type { Config } from './config/load.ts';
import type { RoomEngine } from './engine/types.ts';
import { createPresence, type Presence } from './ephemeral/presence.ts';
import { createSharedRooms } from './ephemeral/shared-rooms.ts';
import type { Endpoint } from './http/endpoint.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import { createNetworkPolicy } from './lib/network-policy.ts';
import type { ProxySettings } from './lib/outbound-connector.ts';
import type { ServerName } from './protocol/ids.ts';
import { followNotifications, type Notifications } from './push/follow-notifications.ts';
import { createPushGateway } from './push/push-gateway.ts';
import { startPushSender } from './push/push-sender.ts';
import { createPushers, type Pushers } from './push/pushers.ts';
import type { Database } from './storage/database.ts';
import type { Hub } from './streams/hub.ts';
import type { PresenceParts } from './sync/presence.ts';

export interface PushOptions {
  readonly config: Config;
  readonly database: Database;
  readonly hub: Hub;
  readonly committer: { readonly writerId: number; readonly position: number };
  readonly engine: RoomEngine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly serverName: ServerName;
  /** What push gateways are told of the server. */
  readonly userAgent: string;
  readonly proxy: ProxySettings | undefined;
}

export interface Push extends AsyncDisposable {
  readonly unread: Notifications;
  readonly pushers: Pushers;
  /** Undefined where presence is off. */
  readonly presenceParts: (PresenceParts & { readonly presence: Presence }) | undefined;
  readonly endpoints: readonly Endpoint[];
}

/** Has to be made after the engine, whose rooms must hear of each COMMIT first. */
export async function createPush(options: PushOptions): Promise<Push> {
  const { config, database, committer, clock } = options;
  await using stack = new AsyncDisposableStack();
  const logger = options.logger.child({ module: 'push' });
  const notifications = stack.use(followNotifications({ ...options, logger, rooms: options.engine }));
  const sharedRooms = stack.use(createSharedRooms(options));
  const presence = config.presence.enabled ? stack.use(createPresence({ ...options, logger })) : undefined;
  const allowsHttp = config.push.allowHttp;
  const pushers = createPushers({ database, getPosition: () => committer.position, allowsHttp });
  await pushers.start();
  if (config.push.enabled) {
    const { allowedNetworks: allowed, deniedNetworks: denied } = config.push;
    const policy = createNetworkPolicy({ allowed, denied });
    const gateway = stack.use(createPushGateway({ ...options, policy }));
    stack.use(
      startPushSender({ ...options, logger, notifications, pushers, gateway, rooms: options.engine, allowsHttp }),
    );
  }
  const resources = stack.move();
  return {
    unread: notifications,
    pushers,
    presenceParts: presence === undefined ? undefined : { presence, sharedRooms },
    endpoints: [
      ...createPresenceEndpoints({ presence, sharedRooms, clock }),
      ...createPusherEndpoints({ pushers }),
      ...createNotificationEndpoints({ notifications, writerId: committer.writerId, clock }),
    ],
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}
