/**
 * The vectors of the authorization rules: reads `test/vectors/auth-rules/*.json` and makes of each vector one case per
 * room version that it names.
 *
 * A vector has a state (entries of type, state key, sender, content and further keys; a string stands for a state of the
 * file; later entries replace earlier ones) or auth events of the same form, an event, the rule under test with its
 * number in each range of versions, and what it expects: to be allowed, rejected by that rule, or by another.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import type { Event, JsonObject, Pdu, StateEvent, StateView } from '../../src/protocol/pdu.ts';
import { ROOM_VERSIONS, type RoomVersion } from '../../src/protocol/room-version.ts';

type Entry = readonly [
  type: string,
  stateKey: string | null,
  sender: string,
  content: JsonObject,
  more?: Partial<WireEvent>,
];
type Numbers = Readonly<Record<string, string>>;

interface WireEvent {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly state_key?: string;
  readonly event_id?: string;
  readonly room_id?: string;
  readonly redacts?: string;
  readonly prev_events?: readonly string[];
  readonly auth_events?: readonly string[];
  readonly signatures?: Pdu['signatures'];
}

interface Vector {
  readonly name: string;
  readonly rule: string;
  readonly versions: Numbers;
  readonly state?: readonly (string | Entry)[];
  readonly auth_events?: readonly (string | Entry)[];
  readonly rejected?: readonly string[];
  readonly event: WireEvent;
  readonly expect: 'allow' | 'reject' | Numbers;
}

interface VectorFile {
  readonly states: Readonly<Record<string, readonly Entry[]>>;
  readonly vectors: readonly Vector[];
}

export interface AuthCase {
  readonly name: string;
  readonly version: RoomVersion;
  /** The key of the rule under test, and its id in this version. */
  readonly rule: string;
  readonly ruleId: string;
  /** The id of the rule that must reject, or undefined where the event must be allowed. */
  readonly rejectedBy: string | undefined;
  readonly event: Event;
  readonly state: StateView;
  /** Set where the auth events are judged and not the state. */
  readonly authEvents: readonly Event[] | undefined;
  readonly isRejected: (eventId: string) => boolean;
}

const FOLDER = new URL('../vectors/auth-rules/', import.meta.url);
const CREATE_ID = '$create:a.test';

/** Every case of every vector. */
export function loadAuthCases(): readonly AuthCase[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      // The shape is that of our own vectors; a wrong one fails the tests that read it.
      const file = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as VectorFile;
      return file.vectors.flatMap((vector) => toCases(vector, file));
    });
}

/** A state of the given entries, for tests that write theirs in code. */
export function makeState(entries: readonly Entry[], version: RoomVersion): StateView {
  const events = new Map<string, StateEvent>();
  for (const entry of entries) {
    const event = toEvent(toWire(entry), version);
    events.set(`${event.type}\0${event.stateKey}`, { ...event, stateKey: event.stateKey ?? '' });
  }
  return { get: (type, stateKey) => events.get(`${type}\0${stateKey}`) };
}

/** An event of the given wire form in the room of the vectors. */
export function toEvent(wire: WireEvent, version: RoomVersion): Event {
  const eventId = wire.event_id ?? '$event:a.test';
  const isCreate = wire.type === 'm.room.create';
  const roomId =
    wire.room_id ?? (version.roomIdFromCreate ? `!${(isCreate ? eventId : CREATE_ID).slice(1)}` : '!room:a.test');
  const { type, sender, content, prev_events = ['$prev:a.test'], auth_events = [] } = wire;
  const hasRoomId = !(isCreate && version.roomIdFromCreate) || wire.room_id !== undefined;
  const pdu: Pdu = {
    type,
    sender,
    content,
    prev_events,
    auth_events,
    origin_server_ts: 0,
    depth: 1,
    hashes: { sha256: '' },
    signatures: wire.signatures ?? {},
    ...(hasRoomId ? { room_id: roomId } : {}),
    ...(wire.state_key === undefined ? {} : { state_key: wire.state_key }),
  };
  return {
    eventId: eventId as EventId,
    roomId: roomId as RoomId,
    sender: sender as UserId,
    type,
    content,
    stateKey: wire.state_key,
    originServerTs: 0,
    depth: 1,
    prevEvents: prev_events as readonly EventId[],
    authEvents: auth_events as readonly EventId[],
    redacts: wire.redacts as EventId | undefined,
    pdu,
  };
}

function toCases(vector: Vector, file: VectorFile): readonly AuthCase[] {
  const { rule, name, expect } = vector;
  return [...ROOM_VERSIONS.values()].flatMap((version, index) => {
    const number = findNumber(vector.versions, index + 1);
    if (number === undefined) return [];
    const ruleId = `v${version.id}:${number}`;
    const other = typeof expect === 'string' ? undefined : `v${version.id}:${findNumber(expect, index + 1)}`;
    const rejectedBy = expect === 'allow' ? undefined : (other ?? ruleId);
    const rejected = new Set(vector.rejected);
    const event = toEvent(vector.event, version);
    const state = makeState(expand(vector.state ?? [], file), version);
    const entries = vector.auth_events === undefined ? undefined : expand(vector.auth_events, file);
    const authEvents = entries?.map((entry) => toEvent(toWire(entry), version));
    const isRejected = (eventId: string) => rejected.has(eventId);
    return [{ name: `${rule}: ${name}`, version, rule, ruleId, rejectedBy, event, state, authEvents, isRejected }];
  });
}

/** The number in the range, such as `6-11`, that holds the place of a version. */
function findNumber(numbers: Numbers, place: number): string | undefined {
  const found = Object.entries(numbers).find(([range]) => {
    const [first, last = first] = range.split('-').map(Number);
    return first !== undefined && last !== undefined && place >= first && place <= last;
  });
  return found?.[1];
}

function expand(entries: readonly (string | Entry)[], file: VectorFile): readonly Entry[] {
  return entries.flatMap((entry) => {
    if (typeof entry !== 'string') return [entry];
    const preset = file.states[entry];
    if (preset === undefined) throw new Error(`no state ${entry}`);
    return preset;
  });
}

function toWire([type, stateKey, sender, content, more]: Entry): WireEvent {
  const event_id = type === 'm.room.create' ? CREATE_ID : `$${type}|${stateKey}:a.test`;
  return { type, sender, content, event_id, ...(stateKey === null ? {} : { state_key: stateKey }), ...more };
}
