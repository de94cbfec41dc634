/**
 * Making a PDU, which is neither stored nor sent.
 */
import { Type } from 'typebox';
import { answer } from '../../http/answer.ts';
import { AnyObject, optional } from '../../http/schema.ts';
import { MatrixError } from '../../protocol/errors.ts';
import type { JsonObject } from '../../protocol/pdu.ts';
import type { BasePdu, MakePdu } from '../../rooms/make-pdu.ts';
import { type AdminEndpoint, defineAdminEndpoint } from './admin-endpoint.ts';

const Body = Type.Object({
  dont_hash: optional(Type.Boolean()),
  dont_sign: optional(Type.Boolean()),
  room_version: optional(Type.String()),
  pdu: AnyObject,
});

export function adminMakePduEndpoints(makePdu: MakePdu): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/make-pdu',
      auth: 'admin',
      body: Body,
      // Content may hold whatever JSON holds: it is not stored.
      allowNul: true,
      doc: { summary: 'Make PDU', answers: { 201: Type.Object({}, { additionalProperties: true }) } },
      async handle({ body }) {
        const made = await makePdu({
          roomVersion: body.room_version || undefined,
          pdu: readBase(body.pdu),
          hashes: body.dont_hash !== true,
          signs: body.dont_sign !== true,
        });
        return answer(201, made);
      },
    }),
  ];
}

function readBase(pdu: JsonObject): BasePdu {
  const { room_id: roomId, sender, content } = pdu;
  if (typeof roomId !== 'string') throw missing('room_id');
  if (typeof sender !== 'string') throw missing('sender');
  if (typeof content !== 'object' || content === null || Array.isArray(content)) throw missing('content');
  // Arrays were just refused, which the compiler does not see through the type guard of a read-only array.
  return { ...pdu, room_id: roomId, sender, content: content as JsonObject };
}

function missing(key: string): MatrixError {
  return new MatrixError('M_BAD_JSON', `pdu.${key} is missing or of the wrong type`);
}
