/**
 * Matrix identifiers: their grammar, and the types that say a string has been checked against it. Sizes are counted in
 * bytes of UTF-8. New ids follow the strict grammar, ids of others the historical one, or rooms would split.
 *
 * https://spec.matrix.org/v1.19/appendices/#identifier-grammar
 */
import type { Random } from '../lib/random.ts';

declare const brand: unique symbol;
export type UserId = string & { readonly [brand]: 'UserId' };
export type RoomId = string & { readonly [brand]: 'RoomId' };
export type EventId = string & { readonly [brand]: 'EventId' };
export type RoomAlias = string & { readonly [brand]: 'RoomAlias' };
export type ServerName = string & { readonly [brand]: 'ServerName' };

/** Of every identifier, with sigil and domain. */
export const MAX_ID_BYTES = 255;
/** Of room ids that we make: 107 bits. */
const ROOM_ID_LENGTH = 18;

const NEW_LOCALPART = /^[a-z0-9._=\-/+]+$/;
/** What a localpart of another server may hold: anything visible in ASCII, and what was ever accepted beyond. */
const HISTORICAL_LOCALPART = /^[^:\0]*$/u;
const SERVER_NAME = /^(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,255})(?::\d{1,5})?$/;
const MAX_PORT = 65_535;
const OPAQUE = /^[^\0]+$/u;

export function isServerName(text: string): text is ServerName {
  if (text.length > MAX_ID_BYTES || !SERVER_NAME.test(text)) return false;
  const port = /\]?:(\d+)$/.exec(text.startsWith('[') ? text.slice(text.indexOf(']') + 1) : text)?.[1];
  return port === undefined || Number(port) <= MAX_PORT;
}

/** A user id by the historical grammar. */
export function isUserId(text: string): text is UserId {
  return hasDomain(text, '@') && HISTORICAL_LOCALPART.test(localpartOf(text));
}

/** A localpart that a new account may have. */
export function isNewLocalpart(text: string): boolean {
  return NEW_LOCALPART.test(text);
}

export function isRoomAlias(text: string): text is RoomAlias {
  return hasDomain(text, '#') && OPAQUE.test(localpartOf(text));
}

/** A room id: opaque, with a domain up to version 11 and without since version 12. */
export function isRoomId(text: string): text is RoomId {
  return isOpaque(text, '!');
}

export function isEventId(text: string): text is EventId {
  return isOpaque(text, '$');
}

export const parseServerName = (text: string): ServerName | undefined => (isServerName(text) ? text : undefined);
export const parseUserId = (text: string): UserId | undefined => (isUserId(text) ? text : undefined);
export const parseRoomAlias = (text: string): RoomAlias | undefined => (isRoomAlias(text) ? text : undefined);
export const parseRoomId = (text: string): RoomId | undefined => (isRoomId(text) ? text : undefined);
export const parseEventId = (text: string): EventId | undefined => (isEventId(text) ? text : undefined);

/** The user id of a new account, or undefined where the localpart is not one that an account may have. */
export function createUserId(localpart: string, serverName: ServerName): UserId | undefined {
  return isNewLocalpart(localpart) ? parseUserId(`@${localpart}:${serverName}`) : undefined;
}

/** What stands between sigil and domain. */
export function localpartOf(id: string): string {
  return id.slice(1, id.indexOf(':'));
}

/** The domain of a user id or alias. */
export function serverNameOf(id: UserId | RoomAlias): ServerName {
  // Checked when the id was: everything behind its first colon.
  return id.slice(id.indexOf(':') + 1) as ServerName;
}

/** A room id for versions whose ids are not made from the create event. */
export function createRoomId(random: Random, serverName: ServerName): RoomId {
  return `!${random.alphanumeric(ROOM_ID_LENGTH)}:${serverName}` as RoomId;
}

function hasDomain(text: string, sigil: string): boolean {
  const colon = text.indexOf(':');
  return colon > 0 && isOpaque(text, sigil) && isServerName(text.slice(colon + 1));
}

function isOpaque(text: string, sigil: string): boolean {
  return (
    text.length > 1 &&
    text.startsWith(sigil) &&
    OPAQUE.test(text) &&
    text.isWellFormed() &&
    Buffer.byteLength(text) <= MAX_ID_BYTES
  );
}
