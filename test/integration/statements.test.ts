/**
 * PostgreSQL prepares every statement of src/storage against the migrated schema: a misspelled column, a missing cast or a
 * table that a migration renamed shows here, even where no other test reaches the statement.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withClient } from '../../src/storage/connection.ts';
import { createTestDatabase } from '../support/database.ts';

const FOLDER = fileURLToPath(new URL('../../src/storage/', import.meta.url));

interface Found {
  readonly place: string;
  readonly text: string;
}

describe('statements', () => {
  test('the extraction understands types, parameters and several statements', () => {
    const source =
      'a(sql<{ b: Map<string, () => void> }>`select §{c(`x`)} as b, §{d}`); sql`select 1`; // sql.ts'.replaceAll(
        '§',
        '$',
      );
    assert.deepEqual(
      findStatements('f.ts', source).map(({ text }) => text),
      ['select $1 as b, $2', 'select 1'],
    );
  });

  test('every statement can be prepared', async () => {
    await using database = await createTestDatabase();
    const files = globSync('*.ts', { cwd: FOLDER }).filter((file) => !file.endsWith('.test.ts'));
    const statements = files.flatMap((file) => findStatements(file, readFileSync(join(FOLDER, file), 'utf8')));
    assert.ok(statements.length > 0);
    const failures: string[] = [];
    await withClient(database.connection, async (client) => {
      for (const [index, { place, text }] of statements.entries()) {
        await client.query(`prepare statement_${index} as ${text}`).catch((cause: Error) => {
          failures.push(`${place}: ${cause.message}\n${text}`);
        });
      }
    });
    assert.deepEqual(failures, []);
  });
});

/** The templates tagged `sql`, each interpolation replaced by its parameter. */
function findStatements(file: string, source: string): readonly Found[] {
  const found: Found[] = [];
  for (const match of source.matchAll(/(?<![.\w])sql(?=[<`])/g)) {
    const start = skipTypes(source, match.index + 3);
    if (source[start] !== '`' || /^\s*(?:\*|\/\/)/.test(lineAt(source, match.index))) continue;
    const line = source.slice(0, match.index).split('\n').length;
    found.push({ place: `${file}:${line}`, text: readTemplate(source, start + 1) });
  }
  return found;
}

function lineAt(source: string, index: number): string {
  return source.slice(source.lastIndexOf('\n', index) + 1, index);
}

function skipTypes(source: string, start: number): number {
  if (source[start] !== '<') return start;
  let depth = 0;
  for (let index = start; index < source.length; index++) {
    if (source[index] === '<') depth += 1;
    else if (source[index] === '>' && source[index - 1] !== '=') depth -= 1;
    if (depth === 0) return index + 1;
  }
  return start;
}

function readTemplate(source: string, start: number): string {
  let text = '';
  let parameters = 0;
  for (let index = start; source[index] !== '`'; index++) {
    if (source.startsWith('${', index)) {
      text += `$${++parameters}`;
      index = skipInterpolation(source, index + 2);
    } else if (source[index] === '\\') {
      text += source[++index];
    } else {
      text += source[index];
    }
  }
  return text;
}

/** Returns the index of the closing brace. */
function skipInterpolation(source: string, start: number): number {
  let depth = 1;
  let index = start;
  for (; ; index++) {
    if (source[index] === '`') index = source.indexOf('`', index + 1);
    else if (source[index] === '{') depth += 1;
    else if (source[index] === '}') depth -= 1;
    if (depth === 0) return index;
  }
}
