/**
 * What commands print: tables and lines for people, the API's own JSON for scripts. Texts that users chose (names, topics,
 * user agents) lose their control characters, so that they can't drive the operator's terminal.
 */
import type { JsonRecord } from './client.ts';

export interface Column {
  readonly key: string;
  readonly title: string;
  readonly show?: (value: unknown) => string;
}

export interface Output {
  readonly isJson: boolean;
  /** A list of objects: one line each. */
  table(rows: readonly JsonRecord[], columns: readonly Column[]): void;
  /** One object: one line for each field. */
  record(record: JsonRecord, show?: Readonly<Record<string, (value: unknown) => string>>): void;
  /** What was done. */
  done(sentence: string): void;
  json(value: unknown): void;
}

export function createOutput(isJson: boolean, write: (line: string) => void = console.log): Output {
  return {
    isJson,
    json: (value) => write(JSON.stringify(value, undefined, 2)),
    table(rows, columns) {
      if (rows.length === 0) write('(none)');
      else for (const line of renderTable(rows, columns)) write(line);
    },
    record(record, show = {}) {
      const entries = Object.entries(record).filter(([, value]) => value !== undefined && value !== null);
      const width = Math.max(0, ...entries.map(([key]) => key.length));
      for (const [key, value] of entries) {
        const lines = (show[key] ?? showAny)(value).split('\n');
        write(`${key.padEnd(width)}  ${lines.join(`\n${' '.repeat(width + 2)}`)}`);
      }
    },
    done: (sentence) => write(clean(sentence)),
  };
}

export function renderTable(rows: readonly JsonRecord[], columns: readonly Column[]): readonly string[] {
  const cells = rows.map((row) => columns.map(({ key, show = showAny }) => show(row[key]).replaceAll('\n', ' ')));
  const lines = [columns.map(({ title }) => title), ...cells];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  return lines.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** Milliseconds as a time in UTC, to the minute. */
export function showTime(value: unknown): string {
  return typeof value === 'number' && value > 0
    ? `${new Date(value).toISOString().slice(0, 16).replace('T', ' ')}Z`
    : '-';
}

export function showBytes(value: unknown): string {
  let amount = Number(value);
  for (const unit of ['B', 'KB', 'MB', 'GB']) {
    if (amount < 1000) return `${amount < 10 && unit !== 'B' ? amount.toFixed(1) : Math.round(amount)} ${unit}`;
    amount /= 1000;
  }
  return `${amount.toFixed(1)} TB`;
}

export function showFlag(value: unknown): string {
  return value === true ? 'yes' : '-';
}

export function showAny(value: unknown): string {
  if (value === undefined || value === null || value === '') return '-';
  if (typeof value === 'string') return clean(value);
  if (Array.isArray(value) && value.every((item) => typeof item === 'string'))
    return value.map(clean).join('\n') || '-';
  return clean(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** C0 and C1 controls, and the characters that turn the direction of writing. */
function clean(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');
}
