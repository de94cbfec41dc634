/**
 * The bodies of the membership endpoints.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#room-membership
 */
import { type Static, Type } from 'typebox';
import { optional } from '../../http/schema.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { TargetedRequest } from '../../rooms/membership.ts';
import { readRoomId, readUserId } from './room-requests.ts';

export const Reason = Type.Object({ reason: optional(Type.String()) });
export const Target = Type.Object({ user_id: Type.String(), reason: optional(Type.String()) });

export function reasonContent({ reason }: Static<typeof Reason>): JsonObject {
  return typeof reason === 'string' ? { reason } : {};
}

export function targetedRequest(roomId: string, body: Static<typeof Target>): TargetedRequest {
  return { roomId: readRoomId(roomId), target: readUserId(body.user_id), content: reasonContent(body) };
}
