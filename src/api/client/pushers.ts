/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
 */
import { type Static, Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { Pushers } from '../../push/pushers.ts';
import { clientPaths } from './room-requests.ts';

/** They are shown to the user, and never longer. */
const MAX_NAME_LENGTH = 255;
const Name = Type.Optional(Type.String({ maxLength: MAX_NAME_LENGTH }));

const Body = Type.Object({
  kind: Type.Union([Type.String(), Type.Null()]),
  app_id: Type.String(),
  pushkey: Type.String(),
  app_display_name: Name,
  device_display_name: Name,
  profile_tag: Name,
  lang: Name,
  data: Type.Optional(AnyObject),
  append: Type.Optional(Type.Boolean()),
});

type Pusher = Awaited<ReturnType<Pushers['list']>>[number];

export function createPusherEndpoints({ pushers }: { readonly pushers: Pushers }): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: clientPaths('/pushers'),
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers',
      async handle({ requester }) {
        return { pushers: (await pushers.list(requester.userId)).map(render) };
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: clientPaths('/pushers/set'),
      auth: 'user',
      body: Body,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset',
      async handle({ requester: { userId, deviceId }, body }) {
        const { app_id: appId, pushkey, append = false } = body;
        if (body.kind === null) await pushers.delete({ userId, appId, pushkey });
        else await pushers.set({ userId, deviceId, appId, pushkey, kind: body.kind, ...readDescription(body) }, append);
        return {};
      },
    }),
  ];
}

function readDescription(body: Static<typeof Body>) {
  return {
    appDisplayName: required(body.app_display_name, 'app_display_name'),
    deviceDisplayName: required(body.device_display_name, 'device_display_name'),
    profileTag: body.profile_tag ?? '',
    lang: required(body.lang, 'lang'),
    data: required(body.data, 'data'),
  };
}

function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new MatrixError('M_MISSING_PARAM', `${name} is missing`);
  return value;
}

function render(pusher: Pusher): JsonObject {
  return {
    pushkey: pusher.pushkey,
    kind: pusher.kind,
    app_id: pusher.appId,
    app_display_name: pusher.appDisplayName,
    device_display_name: pusher.deviceDisplayName,
    ...(pusher.profileTag !== '' && { profile_tag: pusher.profileTag }),
    lang: pusher.lang,
    data: pusher.data,
  };
}
