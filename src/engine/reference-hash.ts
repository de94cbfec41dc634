/**
 * The hash by which events of room versions 1 and 2 refer to others; later versions refer by id alone.
 */
import { referenceHash } from '../protocol/hashes.ts';
import type { Event } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';

export function referenceHashOf({ pdu }: Pick<Event, 'pdu'>, version: RoomVersion): string | undefined {
  return version.eventIds === 'server' ? referenceHash(pdu, version) : undefined;
}
