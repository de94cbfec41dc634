/**
 * Which part of the source may import which: the table of docs/architecture.md. Anything that it does not allow fails, and
 * so does any cycle between files, types included.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../src/', import.meta.url));

const BASE = ['lib', 'protocol'];
const FEATURE_BASE = [...BASE, 'storage', 'streams', 'jobs'];
const FEATURES = [
  'accounts',
  'appservices',
  'devices',
  'engine',
  'ephemeral',
  'federation',
  'media',
  'push',
  'rooms',
  'sync',
];

const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  protocol: ['lib'],
  config: BASE,
  http: BASE,
  storage: BASE,
  streams: [...BASE, 'storage'],
  jobs: ['lib', 'storage'],
  engine: [...BASE, 'storage', 'streams'],
  federation: [...FEATURE_BASE, 'engine'],
  accounts: FEATURE_BASE,
  ephemeral: FEATURE_BASE,
  push: FEATURE_BASE,
  appservices: FEATURE_BASE,
  devices: [...FEATURE_BASE, 'federation'],
  media: [...FEATURE_BASE, 'federation'],
  rooms: [...FEATURE_BASE, 'federation', 'engine'],
  sync: [...BASE, 'storage', 'streams', 'engine'],
  api: [...BASE, 'http', 'config', ...FEATURES],
  'server.ts': ['*'],
  // Parts of the composition root, for its length.
  'server-admin.ts': ['*'],
  'server-data.ts': ['*'],
  'server-federation.ts': ['*'],
  'server-options.ts': ['*'],
  'server-push.ts': ['*'],
  cli: ['*'],
  'main.ts': ['cli'],
};

/** Composition roots: only these may be imported, and only by those. */
const ROOTS: Readonly<Record<string, readonly string[]>> = {
  'server.ts': ['cli'],
  'server-admin.ts': ['server.ts'],
  'server-data.ts': ['server.ts'],
  'server-federation.ts': ['server.ts', 'server-options.ts'],
  'server-options.ts': ['server.ts'],
  'server-push.ts': ['server.ts'],
  cli: ['main.ts'],
  'main.ts': [],
};

const files = globSync('**/*.ts', { cwd: ROOT }).filter((file) => !file.endsWith('.test.ts'));
const imports = new Map(files.map((file) => [file, findImports(file, readFileSync(join(ROOT, file), 'utf8'))]));

describe('dependency directions', () => {
  test('finds imports of every form', () => {
    const text = `import a from './a.ts';\nimport type {\n  B,\n} from '../b/b.ts';\nexport { c } from './c.ts';\nimport './d.ts';
      const e = await import('./e.ts');\n// import f from './f.ts';\n * import g from './g.ts'\nimport fs from 'node:fs';`;
    assert.deepEqual(findImports('x/y.ts', text), ['x/a.ts', 'b/b.ts', 'x/c.ts', 'x/d.ts', 'x/e.ts']);
  });

  test('every part is in the table', () => {
    assert.deepEqual(
      [...new Set(files.map(partOf))].filter((part) => ALLOWED[part] === undefined),
      [],
    );
  });

  test('nothing imports what the table does not allow', () => {
    const wrong = [...imports].flatMap(([file, targets]) =>
      targets.filter((target) => !isAllowed(file, target)).map((target) => `${file} imports ${target}`),
    );
    assert.deepEqual(wrong, []);
  });

  test('the table itself is checked', () => {
    assert.equal(isAllowed('storage/a.ts', 'engine/b.ts'), false);
    assert.equal(isAllowed('lib/a.ts', 'protocol/b.ts'), false);
    assert.equal(isAllowed('api/client/a.ts', 'server.ts'), false);
    assert.equal(isAllowed('engine/a.ts', 'storage/b.ts'), true);
  });

  test('JSON text is read in one place, which knows what V8 reads wrongly', () => {
    const readers = files.filter((file) => readFileSync(join(ROOT, file), 'utf8').includes('JSON.parse('));
    assert.deepEqual(readers, ['lib/parse-json.ts']);
  });

  test('there is no cycle', () => {
    assert.deepEqual(findCycle(imports), []);
    assert.deepEqual(
      findCycle(
        new Map([
          ['a', ['b']],
          ['b', ['c']],
          ['c', ['a']],
        ]),
      ),
      ['a', 'b', 'c', 'a'],
    );
  });
});

function partOf(file: string): string {
  return file.split('/')[0] ?? file;
}

function isAllowed(file: string, target: string): boolean {
  const [from, to] = [partOf(file), partOf(target)];
  if (from === to) return true;
  const importers = ROOTS[to];
  if (importers !== undefined) return importers.includes(from);
  const allowed = ALLOWED[from] ?? [];
  return allowed.includes('*') || allowed.includes(to);
}

function findImports(file: string, text: string): readonly string[] {
  const code = text.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, '');
  const pattern = /(?:^\s*(?:import|export)\b[^'"`;]*?\bfrom\s*|^\s*import\s*|\bimport\(\s*)['"](\.[^'"]+)['"]/gm;
  return [...code.matchAll(pattern)].map((match) => relative(ROOT, join(ROOT, dirname(file), match[1] ?? '')));
}

/** The files of one cycle, the first again at its end; empty when there is none. */
function findCycle(graph: ReadonlyMap<string, readonly string[]>): readonly string[] {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const target of graph.get(file) ?? []) {
      const cycle = visit(target, [...path, file]);
      if (cycle.length > 0) return cycle;
    }
    done.add(file);
    return [];
  };
  for (const file of graph.keys()) {
    const cycle = visit(file, []);
    if (cycle.length > 0) return cycle;
  }
  return [];
}
