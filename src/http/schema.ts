/**
 * Schemas that many endpoints share.
 */
import { type TSchema, Type } from 'typebox';
import type { JsonObject } from '../protocol/pdu.ts';

/** Any JSON object, for bodies whose keys are the sender's own affair: event content, account data. */
export const AnyObject = Type.Unsafe<JsonObject>({ type: 'object' });

/** A key that may be missing; `null` counts as missing, since many clients write it so. */
export function optional<T extends TSchema>(schema: T) {
  return Type.Optional(Type.Union([schema, Type.Null()]));
}

/** The `auth` key of user-interactive authentication. */
export const Auth = optional(AnyObject);
