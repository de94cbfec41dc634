/**
 * Checks a configuration file against the table and says everything that is wrong with it at once, each with its line:
 * unknown keys with the nearest known one, wrong types and bad values with what was expected. Secrets are never quoted.
 */

import { isAlias, isMap, isScalar, isSeq, LineCounter, type Pair, parseDocument, type Node as YamlNode } from 'yaml';
import { Secret } from '../lib/logger.ts';
import { findNearest } from '../lib/nearest.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { type ListNode, type Node, type SecretNode, type SectionNode, toCamelCase, type ValueNode } from './nodes.ts';
import type { ReadContext } from './values.ts';

export interface ConfigSource extends ReadContext {
  /** How the file is called in messages. */
  readonly name: string;
  readonly text: string;
  /** The content of a secret's file; throws when it can't be read. */
  readonly readSecret: (path: string) => string;
}

export class ConfigError extends OperatorError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Reads the whole file, or throws a ConfigError with every problem in it. */
export function readConfig(source: ConfigSource, schema: SectionNode): Readonly<Record<string, unknown>> {
  const reader = new Reader(source);
  const result = reader.readRoot(schema);
  if (reader.problems.length > 0) throw new ConfigError(reader.problems);
  return result;
}

type Section = Readonly<Record<string, unknown>>;

class Reader {
  readonly problems: string[] = [];
  readonly #source: ConfigSource;
  readonly #lines = new LineCounter();
  readonly #document;

  constructor(source: ConfigSource) {
    this.#source = source;
    this.#document = parseDocument(source.text, { version: '1.2', lineCounter: this.#lines, prettyErrors: false });
    for (const { message, pos } of this.#document.errors) this.#report(pos[0], undefined, message);
  }

  readRoot(schema: SectionNode): Section {
    if (this.problems.length > 0) return {};
    return this.#readSection(schema, this.#document.contents, '');
  }

  #report(offset: number | undefined, key: string | undefined, message: string): void {
    const line = offset === undefined ? '' : `:${this.#lines.linePos(offset).line}`;
    this.problems.push(`${this.#source.name}${line}: ${key === undefined ? '' : `${key}: `}${message}`);
  }

  #reportAt(node: unknown, key: string, message: string): void {
    const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
    this.#report(Array.isArray(range) ? Number(range[0]) : undefined, key, message);
  }

  /** An empty section (`database:` with everything below it commented out) counts as not written. */
  #readSection(schema: SectionNode, yaml: unknown, prefix: string): Section {
    const node = this.#resolve(yaml);
    const pairs = new Map<string, Pair>();
    if (isMap(node)) {
      for (const pair of node.items) this.#collect(schema, pair, { prefix, pairs });
    } else if (!isEmpty(node)) {
      this.#reportAt(
        node,
        prefix.slice(0, -1) || 'the file',
        `expected ${describeSection(schema)}, got ${kindOf(node)}`,
      );
    }
    const result: Record<string, unknown> = {};
    for (const [key, child] of Object.entries(schema.keys)) {
      result[toCamelCase(key)] = this.#readNode(child, key, { prefix, pairs });
    }
    return result;
  }

  #collect(schema: SectionNode, pair: Pair, into: { prefix: string; pairs: Map<string, Pair> }): void {
    const key = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
    const known = listKeys(schema);
    if (known.includes(key)) {
      into.pairs.set(key, pair);
      return;
    }
    const nearest = findNearest(key, known);
    const hint = nearest === undefined ? `known here: ${known.join(', ') || 'none'}` : `did you mean ${nearest}?`;
    this.#reportAt(pair.key, into.prefix + key, `expected a known key, got ${key}; ${hint}`);
  }

  #readNode(schema: Node, key: string, place: Place): unknown {
    const yaml = place.pairs.get(key)?.value;
    const path = place.prefix + key;
    switch (schema.kind) {
      case 'secret':
        return this.#readSecret(schema, key, place);
      case 'value':
        return this.#readValue(schema, yaml, path);
      case 'list':
        return this.#readList(schema, yaml, path);
      case 'section':
        return schema.optional && isEmpty(this.#resolve(yaml))
          ? undefined
          : this.#readSection(schema, yaml, `${path}.`);
    }
  }

  #readValue(schema: ValueNode<unknown>, yaml: unknown, path: string): unknown {
    const node = this.#resolve(yaml);
    if (isEmpty(node))
      return schema.default === undefined ? undefined : schema.type.parse(schema.default, this.#source);
    const value = schema.type.parse(this.#toJs(node), this.#source);
    if (value === undefined) {
      const nearest = this.#nearestChoice(schema, node);
      this.#reportAt(node, path, `expected ${schema.type.expected}, got ${this.#describe(node)}${nearest}`);
    }
    return value;
  }

  #nearestChoice(schema: ValueNode<unknown>, node: unknown): string {
    const choices = schema.type.schema['enum'];
    if (!Array.isArray(choices) || !isScalar(node)) return '';
    const nearest = findNearest(String(node.value), choices.map(String));
    return nearest === undefined ? '' : `; did you mean ${nearest}?`;
  }

  #readList(schema: ListNode, yaml: unknown, path: string): readonly Section[] {
    const node = this.#resolve(yaml);
    if (isSeq(node)) return node.items.map((item, index) => this.#readSection(schema.item, item, `${path}[${index}].`));
    if (!isEmpty(node)) this.#reportAt(node, path, `expected a list, got ${kindOf(node)}`);
    return schema.default.map((entry) => this.#readSection(schema.item, this.#document.createNode(entry), `${path}.`));
  }

  #readSecret(schema: SecretNode, key: string, place: Place): Secret | undefined {
    const inline = schema.inline ? this.#resolve(place.pairs.get(key)?.value) : undefined;
    const fileKey = `${key}_file`;
    const file = this.#resolve(place.pairs.get(fileKey)?.value);
    if (!isEmpty(inline) && !isEmpty(file)) {
      this.#reportAt(file, place.prefix + fileKey, `expected either ${key} or ${fileKey}, got both`);
    }
    if (!isEmpty(file)) return this.#readSecretFile(file, place.prefix + fileKey);
    if (isEmpty(inline)) return undefined;
    if (isScalar(inline) && typeof inline.value === 'string' && inline.value !== '') return new Secret(inline.value);
    this.#reportAt(inline, place.prefix + key, 'expected a text that is not empty (its value is not shown)');
    return undefined;
  }

  #readSecretFile(node: unknown, path: string): Secret | undefined {
    const file = isScalar(node) && typeof node.value === 'string' ? node.value : undefined;
    if (file === undefined) {
      this.#reportAt(node, path, `expected a path, got ${this.#describe(node)}`);
      return undefined;
    }
    try {
      const content = this.#source.readSecret(file).trim();
      if (content !== '') return new Secret(content);
      this.#reportAt(node, path, `expected a file with a secret, got an empty one: ${file}`);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.#reportAt(node, path, `expected a readable file, got: ${reason}`);
    }
    return undefined;
  }

  #resolve(node: unknown): unknown {
    return isAlias(node) ? node.resolve(this.#document) : node;
  }

  #toJs(node: unknown): unknown {
    return isYamlNode(node) ? node.toJS(this.#document) : node;
  }

  #describe(node: unknown): string {
    const value = this.#toJs(node);
    if (Array.isArray(value)) return `a list: ${shorten(JSON.stringify(value))}`;
    if (typeof value === 'object' && value !== null) return `a section: ${shorten(JSON.stringify(value))}`;
    return shorten(JSON.stringify(value) ?? 'nothing');
  }
}

interface Place {
  readonly prefix: string;
  readonly pairs: ReadonlyMap<string, Pair>;
}

/** Every key that may stand in the section, with the files of secrets. */
export function listKeys(schema: SectionNode): readonly string[] {
  return Object.entries(schema.keys).flatMap(([key, child]) => {
    if (child.kind !== 'secret') return [key];
    return child.inline ? [key, `${key}_file`] : [`${key}_file`];
  });
}

/** Says what stands there without quoting it, since a secret may stand in a section's place. */
function kindOf(node: unknown): string {
  if (isMap(node)) return 'a section';
  if (isSeq(node)) return 'a list';
  return isScalar(node) && typeof node.value !== 'string' ? String(node.value) : 'a text';
}

const MAX_QUOTED_LENGTH = 80;

const shorten = (text: string): string =>
  text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text;

function describeSection(schema: SectionNode): string {
  return `a section with keys like ${listKeys(schema).slice(0, 3).join(', ')}`;
}

function isEmpty(node: unknown): boolean {
  return node === undefined || node === null || (isScalar(node) && node.value === null);
}

function isYamlNode(node: unknown): node is YamlNode {
  return isScalar(node) || isMap(node) || isSeq(node);
}
