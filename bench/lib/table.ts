/**
 * Prints results: aligned columns for the terminal, markdown for the documentation.
 */
import type { Result } from './bench.ts';

const MEBIBYTE = 1024 * 1024;

export const RESULT_HEADER = [
  'scenario',
  'operations',
  'per second',
  'p50 ms',
  'p95 ms',
  'p99 ms',
  'CPU ms/op',
  'PostgreSQL ms/op',
  'generator ms/op',
  'RSS (peak) MB',
  'PostgreSQL MB',
] as const;

export function toRow(result: Result): string[] {
  const { latencies, memory } = result;
  return [
    result.title,
    String(result.operations),
    formatFigure(result.perSecond),
    formatFigure(latencies.p50),
    formatFigure(latencies.p95),
    formatFigure(latencies.p99),
    formatFigure(result.serverCpu),
    formatFigure(result.postgresCpu),
    formatFigure(result.generatorCpu),
    `${formatMegabytes(memory.serverBytes)} (${formatMegabytes(memory.serverPeakBytes)})`,
    formatMegabytes(memory.postgresBytes),
  ];
}

export function formatMegabytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(0);
}

/** Three significant digits, and thousands with a separator. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return '';
  if (value >= 100) return Math.round(value).toLocaleString('en');
  return value === 0 ? '0' : value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(value))));
}

/** A markdown table whose columns also line up in a terminal. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => pad(cells[column] ?? '', width, column)).join(' | ')} |`;
  return [line(header), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...rows.map(line)].join('\n');
}

function pad(text: string, width: number, column: number): string {
  return column === 0 ? text.padEnd(width) : text.padStart(width);
}
