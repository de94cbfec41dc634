/**
 * JSON with one part of it spoiled: what a hostile or broken server could send in the place of what is right.
 */
import fc from 'fast-check';
import type { JsonObject, JsonValue } from '../../src/protocol/pdu.ts';

const HOSTILE: readonly JsonValue[] = [
  null,
  true,
  -1,
  1.5,
  2 ** 53,
  '',
  '\0',
  '\ud800',
  '__proto__',
  'x'.repeat(70_000),
  [],
  {},
  [null],
  [[['a', {}]]],
  ['$a:b', '$a:b'],
  { a: { b: 'c' } },
  JSON.parse('{"__proto__":{"x":1},"constructor":{"y":2}}'),
];

export interface Spoiling {
  readonly steps: readonly number[];
  readonly value: JsonValue;
  readonly how: 'replace' | 'remove' | 'add';
}

export const spoilings: fc.Arbitrary<Spoiling> = fc.record({
  steps: fc.array(fc.nat(50), { minLength: 1, maxLength: 5 }),
  value: fc.oneof(fc.constantFrom(...HOSTILE), fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<JsonValue>),
  how: fc.constantFrom('replace', 'remove', 'add'),
});

/** Goes down as many steps as there are, and changes what is there. */
export function spoil(value: JsonValue, { steps, ...change }: Spoiling): JsonValue {
  const [step = 0, ...rest] = steps;
  if (typeof value !== 'object' || value === null) return change.value;
  const keys = Object.keys(value);
  const key = keys[step % Math.max(keys.length, 1)];
  if (key === undefined) return change.value;
  if (Array.isArray(value)) {
    return value.flatMap((inner: JsonValue, index) =>
      String(index) !== key
        ? [inner]
        : rest.length > 0
          ? [spoil(inner, { steps: rest, ...change })]
          : changed(inner, change),
    );
  }
  const entries = Object.entries(value as JsonObject).flatMap(([name, inner]): [string, JsonValue][] => {
    const kept = inner ?? null;
    if (name !== key) return [[name, kept]];
    if (rest.length > 0) return [[name, spoil(kept, { steps: rest, ...change })]];
    return changed(kept, change).map((one, index) => [index === 0 ? name : `${name}_`, one]);
  });
  return Object.fromEntries(entries);
}

function changed(inner: JsonValue, { value, how }: Omit<Spoiling, 'steps'>): readonly JsonValue[] {
  return how === 'remove' ? [] : how === 'add' ? [inner, value] : [value];
}
