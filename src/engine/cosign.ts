/**
 * Events of a room that is being created, with the signatures that other servers put on some of them: until the room is
 * committed nobody else has seen it, so it may wait for them.
 */
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import type { DecidedEvent } from './place-event.ts';
import type { CreateRoomRequest } from './types.ts';

export async function cosign(
  decided: readonly DecidedEvent[],
  ask: CreateRoomRequest['cosign'],
): Promise<readonly DecidedEvent[]> {
  if (ask === undefined) return decided;
  const signed = await ask(decided.map(({ row }) => row.stored.event));
  return decided.map((one) => {
    const { stored } = one.row;
    const pdu = signed.get(stored.event.eventId);
    if (pdu === undefined) return one;
    const cosigned = { ...stored, event: { ...stored.event, pdu } };
    return { ...one, row: { ...one.row, stored: cosigned, pduText: encodeCanonicalJson(pdu) } };
  });
}
