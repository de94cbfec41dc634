/**
 * Uploads: at once, or in two steps.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint, type Requester } from '../../http/endpoint.ts';
import { RAW_BODY, type RawBody } from '../../http/raw-body.ts';
import type { Media } from '../../media/media.ts';
import { formatMxc, readMediaKey } from '../../media/mxc.ts';
import type { UploadContent } from '../../media/uploads.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { UserId } from '../../protocol/ids.ts';
import { oldMediaPaths } from './media-requests.ts';

const SPEC = 'https://spec.matrix.org/v1.19/client-server-api/';
const UploadQuery = Type.Object({ filename: Type.Optional(Type.String()) });

export function mediaUploadEndpoints({ uploads }: Pick<Media, 'uploads'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'POST',
      path: oldMediaPaths('/create'),
      auth: 'user',
      spec: `${SPEC}#post_matrixmediav1create`,
      async handle({ requester }) {
        const { unusedExpiresAt, ...key } = await uploads.create(readUploader(requester));
        return { content_uri: formatMxc(key), unused_expires_at: unusedExpiresAt };
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: oldMediaPaths('/upload'),
      auth: 'user',
      query: UploadQuery,
      body: RAW_BODY,
      spec: `${SPEC}#post_matrixmediav3upload`,
      async handle(request) {
        const key = await uploads.upload(readUploader(request.requester), readContent(request));
        return { content_uri: formatMxc(key) };
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: oldMediaPaths('/upload/{serverName}/{mediaId}'),
      auth: 'user',
      query: UploadQuery,
      body: RAW_BODY,
      spec: `${SPEC}#put_matrixmediav3uploadservernamemediaid`,
      async handle(request) {
        await uploads.fill(readUploader(request.requester), readMediaKey(request.params), readContent(request));
        return {};
      },
    }),
  ];
}

function readUploader({ userId, isSuspended }: Requester): UserId {
  if (isSuspended) throw new MatrixError('M_USER_SUSPENDED', 'This account is suspended');
  return userId;
}

function readContent(request: {
  readonly query: { readonly filename?: string };
  readonly body: RawBody;
}): UploadContent {
  return { ...request.body, fileName: request.query.filename };
}
