/**
 * Media of a user or a room: look through it, withdraw it, give it back, protect it.
 */
import { Type } from 'typebox';
import type { AdminUsers } from '../../accounts/admin-users.ts';
import type { MediaModeration } from '../../media/media-moderation.ts';
import { parseUserId, serverNameOf } from '../../protocol/ids.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, Empty, Page, readLimit } from './admin-endpoint.ts';
import { nameOf } from './audit.ts';
import { createCursor } from './cursor.ts';
import { readRoomId } from './rooms.ts';

export interface AdminMediaModerationOptions {
  readonly mediaModeration: MediaModeration;
  readonly users: AdminUsers;
  readonly serverName: string;
}

const TextOrNull = Type.Union([Type.String(), Type.Null()]);
const Media = Type.Object({
  origin: Type.String(),
  media_id: Type.String(),
  kind: Type.Enum(['local', 'remote', 'external']),
  user_id: TextOrNull,
  size: Type.Integer(),
  content_type: TextOrNull,
  file_name: TextOrNull,
  created_at: Type.Integer(),
  last_access_at: Type.Integer(),
  quarantined_by: TextOrNull,
  protected: Type.Boolean(),
  sparse: Type.Boolean(),
});
const MediaList = Type.Object({ chunk: Type.Array(Media), next_batch: Type.Optional(Type.String()) });
const Mention = Type.Object({
  event_id: Type.String(),
  sender: Type.String(),
  origin_server_ts: Type.Integer(),
  origin: Type.String(),
  media_id: Type.String(),
  held: Type.Boolean(),
  size: Type.Union([Type.Integer(), Type.Null()]),
  content_type: TextOrNull,
  quarantined_by: TextOrNull,
  protected: Type.Union([Type.Boolean(), Type.Null()]),
});
const MentionList = Type.Object({ chunk: Type.Array(Mention), next_batch: Type.Optional(Type.String()) });
const Changed = Type.Object({ media: Type.Integer() });

const Position = Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER });
const ofUser = createCursor(Type.Tuple([Position, Type.String(), Type.String()]));
const ofRoom = createCursor(Type.Tuple([Position, TextOrNull]));

export function adminMediaModerationEndpoints(options: AdminMediaModerationOptions): readonly AdminEndpoint[] {
  return [...oneMedia(options), ...userMedia(options), ...roomMedia(options)];
}

function oneMedia({ mediaModeration }: AdminMediaModerationOptions): readonly AdminEndpoint[] {
  const quarantine = '/_hammerhead/v0/admin/media/{origin}/{media_id}/quarantine';
  const protection = '/_hammerhead/v0/admin/media/{origin}/{media_id}/protect';
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/media/{origin}/{media_id}',
      auth: 'admin',
      doc: { summary: 'Get Media', answers: { 200: Media } },
      handle: ({ params }) => mediaModeration.load(params.origin, params.media_id),
    }),
    defineAdminEndpoint({
      method: 'PUT',
      path: quarantine,
      auth: 'admin',
      doc: { summary: 'Quarantine Media', answers: { 200: Empty } },
      async handle({ params, requester }) {
        await mediaModeration.quarantine(params.origin, params.media_id, { by: nameOf(requester) });
        return {};
      },
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path: quarantine,
      auth: 'admin',
      doc: { summary: 'Unquarantine Media', answers: { 200: Empty } },
      async handle({ params }) {
        await mediaModeration.quarantine(params.origin, params.media_id, { by: undefined });
        return {};
      },
    }),
    defineAdminEndpoint({
      method: 'PUT',
      path: protection,
      auth: 'admin',
      doc: { summary: 'Protect Media', answers: { 200: Empty } },
      async handle({ params }) {
        await mediaModeration.protect(params.origin, params.media_id, true);
        return {};
      },
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path: protection,
      auth: 'admin',
      doc: { summary: 'Unprotect Media', answers: { 200: Empty } },
      async handle({ params }) {
        await mediaModeration.protect(params.origin, params.media_id, false);
        return {};
      },
    }),
  ];
}

function userMedia(options: AdminMediaModerationOptions): readonly AdminEndpoint[] {
  const { mediaModeration } = options;
  const quarantine = '/_hammerhead/v0/admin/users/{user_id}/media/quarantine';
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/users/{user_id}/media',
      auth: 'admin',
      query: Type.Object(Page),
      doc: { summary: 'List Media of User', answers: { 200: MediaList } },
      async handle({ params, query }) {
        const userId = await findUserId(options, params.user_id);
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const chunk = await mediaModeration.listOfUser({ userId, after: ofUser.read(query.since), limit });
        const last = chunk.at(-1);
        const isMore = chunk.length === limit && last !== undefined;
        return { chunk, ...(isMore && { next_batch: ofUser.write([last.created_at, last.origin, last.media_id]) }) };
      },
    }),
    defineAdminEndpoint({
      method: 'PUT',
      path: quarantine,
      auth: 'admin',
      doc: { summary: 'Quarantine Media of User', answers: { 200: Changed } },
      async handle({ params, requester }) {
        const userId = await findUserId(options, params.user_id);
        return { media: await mediaModeration.quarantineUser(userId, { by: nameOf(requester) }) };
      },
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path: quarantine,
      auth: 'admin',
      doc: { summary: 'Unquarantine Media of User', answers: { 200: Changed } },
      async handle({ params }) {
        const userId = await findUserId(options, params.user_id);
        return { media: await mediaModeration.quarantineUser(userId, { by: undefined }) };
      },
    }),
  ];
}

/** Of other servers' users there is no account here, and may be media. */
async function findUserId({ users, serverName }: AdminMediaModerationOptions, name: string): Promise<string> {
  const userId = parseUserId(name);
  if (userId !== undefined && serverNameOf(userId) !== serverName) return userId;
  return (await users.find(name)).userId;
}

function roomMedia({ mediaModeration }: AdminMediaModerationOptions): readonly AdminEndpoint[] {
  const quarantine = '/_hammerhead/v0/admin/rooms/{room_id}/media/quarantine';
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/rooms/{room_id}/media',
      auth: 'admin',
      query: Type.Object(Page),
      doc: { summary: 'List Media of Room', answers: { 200: MentionList } },
      async handle({ params, query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const page = { since: ofRoom.read(query.since), limit };
        const { chunk, next } = await mediaModeration.listOfRoom(readRoomId(params.room_id), page);
        return { chunk, ...(next !== undefined && { next_batch: ofRoom.write([...next]) }) };
      },
    }),
    defineAdminEndpoint({
      method: 'PUT',
      path: quarantine,
      auth: 'admin',
      doc: { summary: 'Quarantine Media of Room', answers: { 200: Changed } },
      async handle({ params, requester }) {
        const by = nameOf(requester);
        const withdrawal = { by, requestedBy: by };
        return { media: await mediaModeration.quarantineRoom(readRoomId(params.room_id), withdrawal) };
      },
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path: quarantine,
      auth: 'admin',
      doc: { summary: 'Unquarantine Media of Room', answers: { 200: Changed } },
      async handle({ params, requester }) {
        const withdrawal = { by: undefined, requestedBy: nameOf(requester) };
        return { media: await mediaModeration.quarantineRoom(readRoomId(params.room_id), withdrawal) };
      },
    }),
  ];
}
