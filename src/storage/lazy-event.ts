/**
 * Stored events as most of their readers need them: what the columns say is there at once, and the PDU is parsed by whoever
 * asks for the rest. A page of a hundred messages is shown without parsing any: their content goes from the stored text into
 * the answer's. The getters are own properties, so that a copy of the event has plain values.
 */
import { parseJsonText } from '../lib/parse-json.ts';
import { createEventWithId } from '../protocol/event.ts';
import type { EventId, RoomId, UserId } from '../protocol/ids.ts';
import type { Event, Pdu } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';

export interface StoredPdu {
  readonly event_id: EventId;
  readonly room_id: RoomId;
  readonly type: string;
  readonly state_key: string | null;
  readonly sender: UserId;
  readonly depth: number;
  readonly origin_server_ts: number;
  /** Our own text, so it needs no checks. */
  readonly pdu: string;
}

export function createLazyEvent(row: StoredPdu, version: RoomVersion): Event {
  let parsed: Event | undefined;
  const parse = (): Event => {
    parsed ??= createEventWithId(parseJsonText(row.pdu) as Pdu, version, row.event_id);
    return parsed;
  };
  // Where it lies in a redaction depends on the room version.
  if (row.type === 'm.room.redaction') return parse();
  return {
    eventId: row.event_id,
    roomId: row.room_id,
    type: row.type,
    stateKey: row.state_key ?? undefined,
    sender: row.sender,
    originServerTs: row.origin_server_ts,
    depth: row.depth,
    redacts: undefined,
    get content() {
      return parse().content;
    },
    get prevEvents() {
      return parse().prevEvents;
    },
    get authEvents() {
      return parse().authEvents;
    },
    get pdu() {
      return parse().pdu;
    },
  };
}

/** What stands before the content in canonical JSON, unless a peer put keys of its own there or ids that need escapes. */
const BEFORE_CONTENT = /^\{"auth_events":\[(?:"[^"\\]*"(?:,"[^"\\]*")*)?\],"content":(?=\{)/;

/** The JSON of a PDU's content, or undefined where finding it needs a parser. */
export function contentTextIn(pduText: string): string | undefined {
  const start = BEFORE_CONTENT.exec(pduText)?.[0].length;
  return start === undefined ? undefined : pduText.slice(start, endOfObject(pduText, start));
}

const [QUOTE, BACKSLASH, OPEN, CLOSE] = ['"', '\\', '{', '}'].map((character) => character.charCodeAt(0));

/** Where the object that begins at `start` of a valid JSON text ends. */
function endOfObject(text: string, start: number): number {
  let depth = 0;
  for (let index = start; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) index = endOfString(text, index);
    else if (code === OPEN) depth += 1;
    else if (code === CLOSE && --depth === 0) return index + 1;
  }
  throw new Error('a stored PDU is no JSON');
}

/** The index of the closing quote. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) return index;
    if (code === BACKSLASH) index += 1;
  }
  throw new Error('a stored PDU is no JSON');
}
