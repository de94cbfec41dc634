/**
 * The files of secrets that a configuration names (`url_file`, `pepper_file`), as absolute paths: for whoever looks after
 * them. The configuration itself keeps only what is in them.
 */
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import type { Node } from './nodes.ts';
import { schema } from './schema.ts';

/** `text` is what stands in the file `path`. */
export function listSecretFiles(text: string, path: string): readonly string[] {
  const folder = dirname(resolve(path));
  return secretsIn(schema, parse(text))
    .filter(({ key }) => key.endsWith('_file'))
    .map(({ value }) => resolve(folder, value));
}

/** Whether secrets stand in the file itself. */
export function holdsSecrets(text: string): boolean {
  return secretsIn(schema, parse(text)).some(({ key }) => !key.endsWith('_file'));
}

interface FoundSecret {
  readonly key: string;
  readonly value: string;
}

function secretsIn(node: Node, value: unknown): readonly FoundSecret[] {
  if (node.kind === 'list') return Array.isArray(value) ? value.flatMap((item) => secretsIn(node.item, item)) : [];
  if (node.kind !== 'section' || typeof value !== 'object' || value === null) return [];
  const found = new Map<string, unknown>(Object.entries(value));
  return Object.entries(node.keys).flatMap(([key, child]) => {
    if (child.kind !== 'secret') return secretsIn(child, found.get(key));
    return [key, `${key}_file`].flatMap((name) => {
      const text = found.get(name);
      return typeof text === 'string' ? [{ key: name, value: text }] : [];
    });
  });
}
