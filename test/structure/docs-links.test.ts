/**
 * Links in the documents lead somewhere: to a file that exists, to a heading in it, and into the pinned version of the
 * specification. The generated page is up to date.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderReference } from '../../src/config/reference.ts';
import { checkSpecLink, findSpecLinks } from '../../tools/spec-links.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const documents = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT });

describe('documents', () => {
  test('relative links lead to files and headings that exist', () => {
    const broken = documents.flatMap((file) =>
      findLinks(read(file))
        .filter((link) => !leadsSomewhere(file, link))
        .map((link) => `${file}: ${link}`),
    );
    assert.deepEqual(broken, []);
  });

  test('links into the specification are pinned', () => {
    const sources = globSync('src/**/*.ts', { cwd: ROOT });
    const wrong = findSpecLinks(ROOT, [...documents, ...sources])
      .map(({ file, line, url }) => ({ place: `${file}:${line}: ${url}`, problem: checkSpecLink(url) }))
      .filter(({ problem }) => problem !== undefined);
    assert.deepEqual(wrong, []);
    assert.notEqual(checkSpecLink('https://spec.matrix.org/latest/client-server-api/#syncing'), undefined);
    assert.notEqual(checkSpecLink('https://spec.matrix.org/v1.19/client-api/'), undefined);
  });

  test('docs/configuration.md is what `hammerhead config docs` prints', () => {
    assert.equal(read('docs/configuration.md'), renderReference());
  });
});

function read(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** Targets of inline links and images, outside of code. */
function findLinks(text: string): readonly string[] {
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((target) => !/^[a-z]+:/.test(target));
}

function leadsSomewhere(file: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? file : join(dirname(file), path);
  if (!existsSync(join(ROOT, target))) return false;
  return anchor === undefined || !target.endsWith('.md') || listAnchors(read(target)).includes(anchor);
}

/** As GitHub makes them of headings. */
function listAnchors(text: string): readonly string[] {
  const headings = text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#+\s+(.+)$/gm);
  return [...headings].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  );
}
