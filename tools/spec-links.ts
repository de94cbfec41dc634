/**
 * Checks the links into the Matrix specification: one pinned version, an existing page, and, with a checkout of the
 * specification at hand, an existing anchor. Lists the endpoint files that have no link.
 *
 *   node tools/spec-links.ts [--spec PATH-OF-MATRIX-SPEC]
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const SPEC_VERSION = 'v1.19';

export interface SpecLink {
  readonly file: string;
  readonly line: number;
  readonly url: string;
}

const PAGES =
  /^(?:$|appendices|changelog|client-server-api|server-server-api|application-service-api|identity-service-api|push-gateway-api|olm-megolm|rooms(?:\/v\d+)?)$/;

/** Every link into the specification in `files`, which are paths below `root`. */
export function findSpecLinks(root: string, files: readonly string[]): readonly SpecLink[] {
  return files.flatMap((file) =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .flatMap((text, index) =>
        [...text.matchAll(/https:\/\/spec\.matrix\.org[^\s)`'"<>|\]]*/g)].map(([url]) => ({
          file,
          line: index + 1,
          url: url.replace(/[.,;:]+$/, ''),
        })),
      ),
  );
}

/** What is wrong with a link, or undefined. */
export function checkSpecLink(url: string): string | undefined {
  const { pathname } = new URL(url);
  const [, version, ...page] = pathname.replace(/\/$/, '').split('/');
  if (version !== SPEC_VERSION) return `is not pinned to ${SPEC_VERSION}`;
  return PAGES.test(page.join('/')) ? undefined : 'names no page of the specification';
}

/** The anchors of a checkout's prose: headings as Hugo writes them, and endpoints by method and path. */
function readAnchors(spec: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const file of globSync('content/**/*.md', { cwd: spec })) {
    for (const [, title = ''] of readFileSync(join(spec, file), 'utf8').matchAll(/^#+\s+(.+?)(?:\s+\{#.*\})?$/gm)) {
      anchors.add(slugify(title));
    }
  }
  for (const file of globSync('data/api/**/*.yaml', { cwd: spec }))
    addEndpoints(readFileSync(join(spec, file), 'utf8'), anchors);
  return anchors;
}

function slugify(title: string): string {
  return title
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');
}

function addEndpoints(text: string, anchors: Set<string>): void {
  const base = /^\s+default: (\/_matrix\S*)$/m.exec(text)?.[1] ?? '';
  let path = '';
  for (const line of text.split('\n')) {
    const found = /^ {2}"?(\/[^":]*)"?:$/.exec(line);
    if (found !== null) path = base + (found[1] ?? '');
    const method = /^ {4}(get|put|post|delete|patch):$/.exec(line)?.[1];
    if (method !== undefined) anchors.add(method + path.toLowerCase().replaceAll(/[^a-z0-9_-]/g, ''));
  }
}

function main(options: readonly string[]): number {
  const spec = options[0] === '--spec' ? options[1] : undefined;
  const files = globSync(['src/**/*.ts', 'docs/**/*.md', '*.md'], { cwd: '.' });
  const anchors = spec === undefined ? undefined : readAnchors(spec);
  let problems = 0;
  for (const { file, line, url } of findSpecLinks('.', files)) {
    const anchor = new URL(url).hash.slice(1);
    const isUnknown = anchors !== undefined && anchor !== '' && !anchors.has(anchor);
    const problem = checkSpecLink(url) ?? (isUnknown ? 'names no anchor of the specification' : undefined);
    if (problem === undefined) continue;
    problems += 1;
    console.log(`${file}:${line}: ${url} ${problem}`);
  }
  for (const file of globSync('src/api/{client,federation}/*.ts').filter((name) => !name.endsWith('.test.ts'))) {
    if (!readFileSync(file, 'utf8').includes('https://spec.matrix.org/'))
      console.log(`${file}: no link to the specification`);
  }
  return problems === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
