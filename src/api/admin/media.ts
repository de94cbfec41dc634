/**
 * Deleting media: one file, or all that match any of some criteria.
 */
import { Type } from 'typebox';
import { optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { type AdminEndpoint, defineAdminEndpoint } from './admin-endpoint.ts';

export interface MediaCounts {
  readonly ok: number;
  readonly fail: number;
}

/** Media that match any of these. */
export interface MediaCriteria {
  readonly allRemoteMedia: boolean;
  readonly allLocalMedia: boolean;
  readonly allCaches: boolean;
  readonly allSparse: boolean;
  /** Undefined for none; this server's name where the request had `_`. */
  readonly origin: string | undefined;
  readonly user: string | undefined;
}

export interface MediaAdmin {
  /** What does not exist counts as deleted. */
  deleteOne(origin: string, mediaId: string): Promise<MediaCounts>;
  purge(criteria: MediaCriteria): Promise<MediaCounts>;
}

export interface AdminMediaOptions {
  readonly media: MediaAdmin;
  readonly serverName: string;
}

const Criteria = Type.Object({
  all_remote_media: optional(Type.Boolean()),
  all_local_media: optional(Type.Boolean()),
  all_caches: optional(Type.Boolean()),
  all_sparse: optional(Type.Boolean()),
  origin: optional(Type.String()),
  user: optional(Type.String()),
});
const Counts = Type.Object({ ok: Type.Integer(), fail: Type.Integer() });

export function adminMediaEndpoints({ media, serverName }: AdminMediaOptions): readonly AdminEndpoint[] {
  const toServer = (origin: string): string => (origin === '_' ? serverName : origin);
  return [
    defineAdminEndpoint({
      method: 'DELETE',
      // The shorter paths are there to say what is missing.
      path: [
        '/_hammerhead/v0/admin/media/{origin}/{media_id}',
        '/_hammerhead/v0/admin/media/{origin}',
        '/_hammerhead/v0/admin/media',
      ],
      auth: 'admin',
      doc: { summary: 'Delete Media', answers: { 200: Counts } },
      handle({ params }) {
        const { origin = '', media_id: mediaId = '' } = params;
        if (origin === '' || mediaId === '') {
          throw new MatrixError('M_MISSING_PARAM', 'The path has to name an origin and a media id');
        }
        return media.deleteOne(toServer(origin), mediaId);
      },
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/media/purge',
      auth: 'admin',
      body: Criteria,
      doc: { summary: 'Purge Media', answers: { 200: Counts } },
      handle: ({ body }) =>
        media.purge({
          allRemoteMedia: body.all_remote_media === true,
          allLocalMedia: body.all_local_media === true,
          allCaches: body.all_caches === true,
          allSparse: body.all_sparse === true,
          origin: body.origin ? toServer(body.origin) : undefined,
          user: body.user || undefined,
        }),
    }),
  ];
}
