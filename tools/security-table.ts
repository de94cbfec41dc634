/**
 * Writes docs/security.md: each attack with the tests that hold it off, found by their names.
 *
 *   node tools/security-table.ts
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SECURITY_ROWS, type SecurityRow } from './security-rows.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGE = join(ROOT, 'docs/security.md');

/** A test's name that begins with row ids: `A1, A2: ...`. */
const TEST_NAME = /\b(?:test|it|describe)\(\s*(['"`])((?:[A-L]\d{1,2})(?:, ?[A-L]\d{1,2})*): (.*?)\1/gs;

export function renderSecurityTable(): string {
  const tests = findTests();
  return [
    '# Security',
    '',
    'What has been done to homeservers, and the tests that it does not work here. Written by `node tools/security-table.ts`',
    'from the names of the tests; the attacks stand in `tools/security-rows.ts`.',
    '',
    ...SECURITY_ROWS.flatMap(({ chapter, rows }) => [
      `## ${chapter}`,
      '',
      '| | what | held off by |',
      '|---|---|---|',
      ...rows.map((row) => `| ${row.id} | ${row.title} | ${renderTests(row, tests.get(row.id) ?? [])} |`),
      '',
    ]),
  ].join('\n');
}

function renderTests({ later }: SecurityRow, files: readonly string[]): string {
  if (files.length > 0) return files.map((file) => `[${file.replace(/^.*\//, '')}](../${file})`).join(', ');
  return later === undefined ? '**no test yet**' : `comes with ${later}`;
}

/** The files with tests of each row. */
function findTests(): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, Set<string>>();
  for (const file of globSync('{src,test}/**/*.test.ts', { cwd: ROOT }).sort()) {
    for (const [, , ids = ''] of readFileSync(join(ROOT, file), 'utf8').matchAll(TEST_NAME)) {
      for (const id of ids.split(/, ?/)) found.set(id, (found.get(id) ?? new Set()).add(file));
    }
  }
  return new Map([...found].map(([id, files]) => [id, [...files]]));
}

if (process.argv[1] === import.meta.filename) writeFileSync(PAGE, renderSecurityTable());
