/**
 * Filters at work: predicates over events, compiled once per filter, and the projection of events to the fields that a
 * client asked for.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#filtering
 */
import { compileGlob } from '../lib/glob.ts';
import type { EventFilter, RoomEventFilter, RoomSelection } from './filters.ts';
import { isJsonObject } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';
import { parsePropertyPath } from './property-path.ts';

/** What filters read of an event; account data and ephemeral events lack some of it. */
export interface FilterableEvent {
  readonly type: string;
  readonly sender?: string | undefined;
  readonly content?: JsonObject | undefined;
  readonly roomId?: string | undefined;
}

/** Compiles a filter into a predicate. Events without a room id are taken to be of a room that was selected before. */
export function compileEventFilter(filter: EventFilter | RoomEventFilter): (event: FilterableEvent) => boolean {
  const type = selection(filter.types && matcherOfTypes(filter.types), matcherOfTypes(filter.notTypes));
  const sender = selection(filter.senders && matcherOf(filter.senders), matcherOf(filter.notSenders));
  const checks: ((event: FilterableEvent) => boolean)[] = [];
  if (filter.types !== undefined || filter.notTypes.length > 0) checks.push((event) => type(event.type));
  if (filter.senders !== undefined || filter.notSenders.length > 0) checks.push((event) => sender(event.sender ?? ''));
  if ('containsUrl' in filter) checks.push(...roomEventChecks(filter));
  return (event) => checks.every((check) => check(event));
}

/** Whether every event passes the filter. */
export function passesAll(filter: RoomEventFilter): boolean {
  const includes = [filter.types, filter.senders, filter.rooms, filter.relTypes, filter.containsUrl];
  const excludes = [filter.notTypes, filter.notSenders, filter.notRooms, filter.notRelTypes];
  return includes.every((one) => one === undefined) && excludes.every(({ length }) => length === 0);
}

/** Whether `event` passes `filter`; for many events compile the filter instead. */
export function matchesEventFilter(filter: EventFilter | RoomEventFilter, event: FilterableEvent): boolean {
  return compileEventFilter(filter)(event);
}

/** Compiles a selection of rooms into a predicate over room ids. */
export function compileRoomSelection({ rooms, notRooms }: RoomSelection): (roomId: string) => boolean {
  return selection(rooms && matcherOf(rooms), matcherOf(notRooms));
}

/** Compiles `event_fields` into a function that leaves an event only these. */
export function compileProjection(paths: readonly string[]): (event: JsonObject) => JsonObject {
  const tree: FieldTree = new Map();
  for (const path of paths) addPath(tree, parsePropertyPath(path));
  return (event) => project(event, tree);
}

/** Leaves `event` only the fields at `paths`; for many events compile the projection instead. */
export function projectFields(event: JsonObject, paths: readonly string[]): JsonObject {
  return compileProjection(paths)(event);
}

type Predicate = (text: string) => boolean;

/** Exclusion is stronger than inclusion. */
function selection(includes: Predicate | undefined, excludes: Predicate): Predicate {
  return (text) => !excludes(text) && (includes === undefined || includes(text));
}

function matcherOf(list: readonly string[]): Predicate {
  const set = new Set(list);
  return (text) => set.has(text);
}

function matcherOfTypes(list: readonly string[]): Predicate {
  const isListed = matcherOf(list);
  const globs = list.filter((type) => type.includes('*')).map((type) => compileGlob(type, { starOnly: true }));
  return (type) => isListed(type) || globs.some((glob) => glob(type));
}

function roomEventChecks(filter: RoomEventFilter): readonly ((event: FilterableEvent) => boolean)[] {
  const { containsUrl, relTypes, notRelTypes } = filter;
  const room = compileRoomSelection(filter);
  const checks = [({ roomId }: FilterableEvent) => roomId === undefined || room(roomId)];
  if (containsUrl !== undefined) {
    checks.push(({ content }) => (content !== undefined && Object.hasOwn(content, 'url')) === containsUrl);
  }
  if (relTypes !== undefined || notRelTypes.length > 0) {
    const isWanted = selection(relTypes && matcherOf(relTypes), matcherOf(notRelTypes));
    checks.push(({ content }) => {
      const relType = relTypeOf(content);
      return relType === undefined ? relTypes === undefined : isWanted(relType);
    });
  }
  return checks;
}

function relTypeOf(content: JsonObject | undefined): string | undefined {
  const relation = content?.['m.relates_to'];
  const relType = isJsonObject(relation) ? relation['rel_type'] : undefined;
  return typeof relType === 'string' ? relType : undefined;
}

/** The fields wanted below each name; undefined stands for all that lies there. */
type FieldTree = Map<string, FieldTree | undefined>;

function addPath(tree: FieldTree, names: readonly string[]): void {
  let branch = tree;
  for (const [index, name] of names.entries()) {
    const known = branch.get(name);
    if (branch.has(name) && known === undefined) return;
    const next = index === names.length - 1 ? undefined : (known ?? new Map());
    branch.set(name, next);
    if (next !== undefined) branch = next;
  }
}

/** Descends no deeper than the paths go, which parsing has bounded. */
function project(object: JsonObject, tree: FieldTree): JsonObject {
  const kept: [string, JsonValue][] = [];
  for (const [name, branch] of tree) {
    const value = Object.hasOwn(object, name) ? object[name] : undefined;
    if (value === undefined) continue;
    if (branch === undefined) kept.push([name, value]);
    else if (isJsonObject(value)) {
      const inner = project(value, branch);
      if (Object.keys(inner).length > 0) kept.push([name, inner]);
    }
  }
  // `fromEntries` makes own properties even of names such as `__proto__`.
  return Object.fromEntries(kept);
}
