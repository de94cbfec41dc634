/**
 * The configuration file that a first start writes: every key with its meaning and default. Only the keys that one has to
 * look at are set; the others are commented out, so that a better default of a later version takes effect.
 */
import { stringify } from 'yaml';
import type { ListNode, Node, SecretNode, SectionNode, ValueNode } from './nodes.ts';
import { schema } from './schema.ts';

/** Set in the example, and not only mentioned. */
const ACTIVE_KEYS = ['server_name', 'data_dir', 'listeners'];
const LINE_WIDTH = 100;

const HEAD = `# Hammerhead's configuration (YAML 1.2). Settings that are commented out show their default.
# Check it with: hammerhead config check. Durations are like 30s, 5m, 1h; sizes like 500KB, 50MB.
# A secret can be kept in a file of its own: KEY_file: PATH in place of KEY: VALUE.
# Relative paths start from this file's folder.
`;

/** `overrides` replace the defaults of top-level keys: the server name that was asked for. */
export function renderExample(overrides: Readonly<Record<string, unknown>> = {}): string {
  const blocks = Object.entries(schema.keys).map(([key, node]) => {
    const isActive = ACTIVE_KEYS.includes(key) || key in overrides;
    const chosen = key in overrides && node.kind === 'value' ? { ...node, default: overrides[key] } : node;
    return renderNode(key, chosen, isActive).join('\n');
  });
  return `${HEAD}\n${blocks.join('\n\n')}\n`;
}

function renderNode(key: string, node: Node, isActive: boolean): string[] {
  switch (node.kind) {
    case 'value':
      return renderValue(key, node, isActive);
    case 'secret':
      return renderSecret(key, node);
    case 'list':
      return renderList(key, node, isActive);
    case 'section':
      return renderSection(key, node);
  }
}

function renderValue(key: string, node: ValueNode<unknown>, isActive: boolean): string[] {
  const setting = `${key}: ${inline(node.default ?? node.example)}`;
  return [...comment(`${node.doc} ${describeDefault(node)}`), isActive ? setting : `#${setting}`];
}

function renderSecret(key: string, node: SecretNode): string[] {
  const lines = comment(`${node.doc} Default: none.`);
  if (node.inline) lines.push(`#${key}: ...`);
  return [...lines, `#${key}_file: ./${key.replaceAll('_', '-')}.txt`];
}

function renderList(key: string, node: ListNode, isActive: boolean): string[] {
  const lines = comment(node.doc);
  for (const [name, child] of flatten(node.item, '')) lines.push(...comment(`${name}: ${child}`, '  '));
  const setting = stringify({ [key]: node.default })
    .trimEnd()
    .split('\n');
  return [...lines, ...setting.map((line) => (isActive ? line : `#${line}`))];
}

/** The section itself is set: what is commented out in it can be turned on line by line. */
function renderSection(key: string, node: SectionNode): string[] {
  const inside = Object.entries(node.keys).flatMap(([name, child]) => ['', ...renderNode(name, child, false)]);
  const head = comment(node.doc);
  if (inside.length === 0) return [...head, `#${key}:`];
  return [...head, `${key}:`, ...inside.slice(1).map((line) => (line === '' ? '' : `  ${line}`))];
}

/** The keys of a list's entries, each with its meaning. */
function* flatten(section: SectionNode, prefix: string): Generator<[string, string]> {
  for (const [key, child] of Object.entries(section.keys)) {
    if (child.kind === 'section') yield* flatten(child, `${prefix}${key}.`);
    else if (child.kind === 'value')
      yield [`${prefix}${key}`, `${child.doc} ${section.optional ? '' : describeDefault(child)}`];
  }
}

function describeDefault(node: ValueNode<unknown>): string {
  if (node.default !== undefined) return `Default: ${inline(node.default)}.`;
  return `Default: ${(node.defaultDoc ?? 'none').replaceAll('`', '')}.`;
}

export function inline(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow' }).trimEnd();
}

function comment(text: string, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.trim().split(' ')) {
    if (line !== '' && line.length + word.length >= LINE_WIDTH) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return [...lines, line].filter((entry) => entry !== '').map((entry) => `# ${indent}${entry}`);
}
