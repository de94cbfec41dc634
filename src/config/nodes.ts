/**
 * What the configuration's table is made of. One table (schema.ts) gives the example file, the documentation page, the
 * JSON Schema, the checks at start and the type of `Config`; the file's snake_case keys become camelCase in code.
 */
import type { Secret } from '../lib/logger.ts';
import type { ValueType } from './values.ts';

interface Described {
  /** One or more sentences for whoever edits the file. */
  readonly doc: string;
}

export interface ValueNode<T> extends Described {
  readonly kind: 'value';
  readonly type: ValueType<T>;
  /** As it stands in the file; undefined when the key has no default. */
  readonly default?: unknown;
  /** What stands in the documentation for a default that follows from other keys. */
  readonly defaultDoc?: string;
  /** Whether SIGHUP takes a new value over without a restart. */
  readonly reloadable: boolean;
  /** Shown in the example file where there is no default. */
  readonly example?: unknown;
}

/** A secret: `key` in the file itself, or `key_file` with the path of a file that holds it. */
export interface SecretNode extends Described {
  readonly kind: 'secret';
  /** False when only the file is accepted. */
  readonly inline: boolean;
  readonly reloadable: boolean;
}

export type Keys = Readonly<Record<string, Node>>;

export interface SectionNode<K extends Keys = Keys, Optional extends boolean = boolean> extends Described {
  readonly kind: 'section';
  readonly keys: K;
  /** An optional section is undefined unless it is written; any other has its keys' defaults. */
  readonly optional: Optional;
}

export interface ListNode<K extends Keys = Keys> extends Described {
  readonly kind: 'list';
  readonly item: SectionNode<K>;
  readonly default: readonly Readonly<Record<string, unknown>>[];
}

export type Node = ValueNode<unknown> | SecretNode | SectionNode | ListNode;

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : S;

/** What a node becomes in code. */
export type Infer<N> =
  N extends ValueNode<infer T>
    ? T
    : N extends SecretNode
      ? Secret | undefined
      : N extends ListNode<infer K>
        ? readonly Infer<SectionNode<K, false>>[]
        : N extends SectionNode<infer K, infer Optional>
          ?
              | { readonly [P in keyof K & string as CamelCase<P>]: Infer<K[P]> }
              | (Optional extends true ? undefined : never)
          : never;

export const toCamelCase = (key: string): string =>
  key.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

interface ValueOptions {
  readonly default: unknown;
  readonly reloadable?: boolean;
}

/** A key with a default. */
export function value<T>(type: ValueType<T>, doc: string, options: ValueOptions): ValueNode<T> {
  return { kind: 'value', type, doc, reloadable: false, ...options };
}

interface OptionalOptions {
  readonly example: unknown;
  readonly defaultDoc?: string;
  readonly reloadable?: boolean;
}

/** A key that may be left out. */
export function optional<T>(type: ValueType<T>, doc: string, options: OptionalOptions): ValueNode<T | undefined> {
  return { kind: 'value', type, doc, reloadable: false, ...options };
}

export function secret(doc: string, options: { inline?: boolean; reloadable?: boolean } = {}): SecretNode {
  return { kind: 'secret', doc, inline: true, reloadable: false, ...options };
}

export function section<K extends Keys>(doc: string, keys: K): SectionNode<K, false> {
  return { kind: 'section', doc, keys, optional: false };
}

export function optionalSection<K extends Keys>(doc: string, keys: K): SectionNode<K, true> {
  return { kind: 'section', doc, keys, optional: true };
}

export function list<K extends Keys>(
  doc: string,
  keys: K,
  options: { default: readonly Readonly<Record<string, unknown>>[] },
): ListNode<K> {
  return { kind: 'list', doc, item: section(doc, keys), default: options.default };
}
