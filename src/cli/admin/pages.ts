/**
 * Lists that the API gives in pages: as many entries as were asked for, with as many requests as that takes.
 */
import { wholeNumber } from '../options.ts';
import type { AdminClient, JsonRecord } from './client.ts';
import type { CommandContext, CommandOption, Input } from './command.ts';
import type { Column } from './output.ts';

/** The most that the API gives at once. */
const MAX_PAGE = 1000;
const DEFAULT_LIMIT = 100;

export const LIMIT_OPTIONS: readonly CommandOption[] = [
  { flags: '--limit <n>', about: 'how many entries', parse: wholeNumber(1), default: DEFAULT_LIMIT },
  { flags: '--all', about: 'every entry' },
];

export interface List {
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly columns: readonly Column[];
}

/** Prints a list as `--limit` and `--all` want it. */
export async function printList({ client, output }: CommandContext, input: Input, list: List): Promise<void> {
  const limit = input.has('all') ? Number.POSITIVE_INFINITY : (input.number('limit') ?? DEFAULT_LIMIT);
  const { chunk, isComplete } = await fetchList(client, list, limit);
  if (output.isJson) return output.json({ chunk });
  output.table(chunk, list.columns);
  if (!isComplete) output.done(`(the first ${chunk.length}; --limit or --all shows more)`);
}

interface Fetched {
  readonly chunk: readonly JsonRecord[];
  readonly isComplete: boolean;
}

async function fetchList(client: AdminClient, { path, query }: List, limit: number): Promise<Fetched> {
  const chunk: JsonRecord[] = [];
  let since: number | string | undefined;
  do {
    const page = await client.call({
      method: 'GET',
      path,
      query: { ...query, limit: Math.min(MAX_PAGE, limit - chunk.length), since },
    });
    chunk.push(...readChunk(page));
    const next = page['next_batch'];
    // A number, or a cursor to be given back as it is.
    since = typeof next === 'number' || typeof next === 'string' ? next : undefined;
  } while (since !== undefined && chunk.length < limit);
  return { chunk, isComplete: since === undefined };
}

export function readChunk({ chunk }: JsonRecord): readonly JsonRecord[] {
  return readRecords(chunk);
}

/** The objects of a list. */
export function readRecords(list: unknown): readonly JsonRecord[] {
  return Array.isArray(list) ? list.filter((entry) => typeof entry === 'object' && entry !== null) : [];
}
