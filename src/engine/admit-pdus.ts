/**
 * The door for PDUs, wherever they come from: format, hash and signatures, before anything else looks at them. One that
 * fails is left out alone. Many of them are read a few at a time, with other work in between.
 */
import { setImmediate } from 'node:timers/promises';
import type { JsonValue } from '../protocol/pdu.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import { type ParsedPdu, parseReceived, type ReceivedEvent, type ReceivingRoom } from './parse-received.ts';
import type { PduVerifier } from './ports.ts';

/** Of 64 KiB each at worst, which take a millisecond or two. */
const READ_AT_ONCE = 16;

/** For each value the event that it is, or why it is dropped. */
export async function admitPdus(
  verifier: PduVerifier,
  room: ReceivingRoom,
  values: readonly JsonValue[],
  oddNumbers?: OddNumbers,
): Promise<readonly ParsedPdu[]> {
  const parsed: ParsedPdu[] = [];
  for (let from = 0; from < values.length; from += READ_AT_ONCE) {
    if (from > 0) await setImmediate();
    parsed.push(...values.slice(from, from + READ_AT_ONCE).map((value) => parseReceived(value, room, oddNumbers)));
  }
  const received = parsed.flatMap((one) => ('received' in one ? [one.received] : []));
  if (received.length === 0) return parsed;
  const { version } = room;
  const faults = await verifier.verify(received.map(({ signed }) => ({ pdu: signed, version })));
  const faultOf = new Map(received.map((one, index) => [one, faults[index]]));
  return parsed.map((one) => {
    const fault = 'received' in one ? faultOf.get(one.received) : undefined;
    return fault === undefined ? one : { fault: `signatures: ${fault}` };
  });
}

/** Those that are events, each once. */
export function admitted(parsed: readonly ParsedPdu[]): readonly ReceivedEvent[] {
  const received = parsed.flatMap((one) => ('received' in one ? [one.received] : []));
  return [...new Map(received.map((one) => [one.event.eventId, one])).values()];
}
