/**
 * Downloads, thumbnails and the repository's configuration; and the old paths of the same, which ask for no token.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#content-repository
 */
import { Type } from 'typebox';
import { defineEndpoint, type Endpoint, type RequestContext } from '../../http/endpoint.ts';
import type { Media } from '../../media/media.ts';
import { readMediaKey } from '../../media/mxc.ts';
import type { ThumbnailMethod } from '../../media/thumbnail-sizes.ts';
import { answerContent, CONTENT_QUERY, oldMediaPaths, readFindOptions, THUMBNAIL_QUERY } from './media-requests.ts';

const SPEC = 'https://spec.matrix.org/v1.19/client-server-api/';
const DownloadQuery = Type.Object(CONTENT_QUERY);
const ThumbnailQuery = Type.Object(THUMBNAIL_QUERY);

export function mediaEndpoints(media: Pick<Media, 'downloads' | 'thumbnails' | 'uploads'>): readonly Endpoint[] {
  return [...downloadEndpoints(media), ...thumbnailEndpoints(media), ...configEndpoints(media)];
}

type Serving = Pick<Media, 'downloads' | 'thumbnails'>;

interface DownloadRequest extends RequestContext {
  readonly params: { readonly serverName: string; readonly mediaId: string; readonly fileName?: string };
  readonly query: { readonly allow_remote?: boolean; readonly timeout_ms?: number };
}

function downloadEndpoints({ downloads }: Serving): readonly Endpoint[] {
  const serve = async (request: DownloadRequest, isAuthenticated: boolean) => {
    const { fileName } = request.params;
    const found = await downloads.find(readMediaKey(request.params), readFindOptions(request, isAuthenticated));
    const named = { ...found, fileName: fileName ?? found.fileName, isPublic: !isAuthenticated };
    return answerContent(downloads, named, request);
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: [
        '/_matrix/client/v1/media/download/{serverName}/{mediaId}',
        '/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}',
      ],
      auth: 'user',
      guests: true,
      query: DownloadQuery,
      spec: `${SPEC}#get_matrixclientv1mediadownloadservernamemediaid`,
      handle: (request) => serve(request, true),
    }),
    defineEndpoint({
      method: 'GET',
      path: [
        ...oldMediaPaths('/download/{serverName}/{mediaId}'),
        ...oldMediaPaths('/download/{serverName}/{mediaId}/{fileName}'),
      ],
      auth: 'none',
      query: DownloadQuery,
      spec: `${SPEC}#get_matrixmediav3downloadservernamemediaid`,
      handle: (request) => serve(request, false),
    }),
  ];
}

interface ThumbnailRequest extends DownloadRequest {
  readonly query: DownloadRequest['query'] & {
    readonly width: number;
    readonly height: number;
    readonly method?: ThumbnailMethod;
    readonly animated?: boolean;
  };
}

function thumbnailEndpoints({ downloads, thumbnails }: Serving): readonly Endpoint[] {
  const serve = async (request: ThumbnailRequest, isAuthenticated: boolean) => {
    const { width, height, method = 'scale', animated = false } = request.query;
    const found = await downloads.find(readMediaKey(request.params), readFindOptions(request, isAuthenticated));
    const thumbnail = await thumbnails.get(found, { width, height, method, animated });
    const fileName = `thumbnail.${thumbnail.contentType.replace('image/', '')}`;
    return answerContent(downloads, { ...thumbnail, fileName, isPublic: !isAuthenticated }, request);
  };
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}',
      auth: 'user',
      guests: true,
      query: ThumbnailQuery,
      spec: `${SPEC}#get_matrixclientv1mediathumbnailservernamemediaid`,
      handle: (request) => serve(request, true),
    }),
    defineEndpoint({
      method: 'GET',
      path: oldMediaPaths('/thumbnail/{serverName}/{mediaId}'),
      auth: 'none',
      query: ThumbnailQuery,
      spec: `${SPEC}#get_matrixmediav3thumbnailservernamemediaid`,
      handle: (request) => serve(request, false),
    }),
  ];
}

function configEndpoints({ uploads }: Pick<Media, 'uploads'>): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: ['/_matrix/client/v1/media/config', ...oldMediaPaths('/config')],
      auth: 'user',
      spec: `${SPEC}#get_matrixclientv1mediaconfig`,
      handle: () => ({ 'm.upload.size': uploads.maxUploadSize }),
    }),
  ];
}
