/**
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import type { Media } from '../../media/media.ts';
import { oldMediaPaths } from './media-requests.ts';

/** None where previews are switched off: clients then know that the endpoint is not there. */
export function mediaPreviewEndpoints({ previews }: Pick<Media, 'previews'>): readonly Endpoint[] {
  if (previews === undefined) return [];
  return [
    defineEndpoint({
      method: 'GET',
      path: ['/_matrix/client/v1/media/preview_url', ...oldMediaPaths('/preview_url')],
      auth: 'user',
      // The preferred time is a wish that only an archive could fulfil.
      query: Type.Object({ url: Type.String(), ts: Type.Optional(Type.Integer()) }),
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url',
      handle: ({ query }) => previews.get(query.url),
    }),
  ];
}
