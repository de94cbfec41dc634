/**
 * Tags are room account data of the type `m.tag`; these endpoints change one of them at a time.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-tagging
 */
import type { AccountData } from '../../accounts/account-data.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { AnyObject } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { RoomId, UserId } from '../../protocol/ids.ts';
import { isJsonObject } from '../../protocol/json-value.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import { checkOwnUser } from './own-user.ts';
import { clientPaths, readRoomId } from './room-requests.ts';

/** As the spec bounds the names of tags. */
const MAX_TAG_BYTES = 255;
const TAGS = clientPaths('/user/{userId}/rooms/{roomId}/tags');
const TAG = clientPaths('/user/{userId}/rooms/{roomId}/tags/{tag}');

export function createTagEndpoints(options: { readonly accountData: AccountData }): readonly Endpoint[] {
  const { accountData } = options;
  return [
    defineEndpoint({
      method: 'GET',
      path: TAGS,
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags',
      async handle({ requester, params }) {
        return { tags: tagsIn(await accountData.load(keyOf(checkOwnUser(requester, params.userId), params.roomId))) };
      },
    }),
    defineEndpoint({
      method: 'PUT',
      path: TAG,
      auth: 'user',
      body: AnyObject,
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag',
      async handle({ requester, params, body }) {
        const userId = checkOwnUser(requester, params.userId);
        checkTag(params.tag, body);
        await accountData.update(keyOf(userId, params.roomId), (content) => ({
          ...content,
          tags: Object.fromEntries([...otherTags(content, params.tag), [params.tag, body]]),
        }));
        return {};
      },
    }),
    defineEndpoint({
      method: 'DELETE',
      path: TAG,
      auth: 'user',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag',
      async handle({ requester, params }) {
        const userId = checkOwnUser(requester, params.userId);
        await accountData.update(keyOf(userId, params.roomId), (content) =>
          Object.hasOwn(tagsIn(content), params.tag)
            ? { ...content, tags: Object.fromEntries(otherTags(content, params.tag)) }
            : undefined,
        );
        return {};
      },
    }),
  ];
}

function keyOf(userId: UserId, roomId: string): { userId: UserId; roomId: RoomId; type: string } {
  return { userId, roomId: readRoomId(roomId), type: 'm.tag' };
}

function checkTag(tag: string, { order }: JsonObject): void {
  if (tag === '' || Buffer.byteLength(tag) > MAX_TAG_BYTES) {
    throw new MatrixError('M_INVALID_PARAM', `The tag must have 1 to ${MAX_TAG_BYTES} bytes`);
  }
  if (order !== undefined && (typeof order !== 'number' || order < 0 || order > 1)) {
    throw new MatrixError('M_BAD_JSON', 'order must be a number from 0 to 1');
  }
}

function tagsIn(content: JsonObject | undefined): JsonObject {
  const tags = content?.['tags'];
  return isJsonObject(tags) ? tags : {};
}

// Entries rather than a spread with a computed key: a tag may be named `__proto__`.
function otherTags(content: JsonObject | undefined, tag: string): [string, JsonObject[string]][] {
  return Object.entries(tagsIn(content)).filter(([name]) => name !== tag);
}
