/**
 * Puts the results of several homeservers side by side, with Hammerhead's ratio to each other one.
 */
import type { Result } from './bench.ts';
import { formatFigure, formatMegabytes, formatTable } from './table.ts';

export interface Contender {
  /** The first word says which it is, the rest its version. */
  readonly name: string;
  readonly results: readonly Result[];
}

/** Single calls whose latency says more than their rate. */
const LATENCY_ONLY = new Set(['fan-out to 30', 'first sync, cold', 'first sync, again']);

export function formatComparison(contenders: readonly Contender[], machine: string): string {
  const own = contenders.find(({ name }) => name.startsWith('hammerhead'));
  const others = contenders.filter((contender) => contender !== own);
  const titles = [...new Set(contenders.flatMap(({ results }) => results.map(({ title }) => title)))];
  const header = [
    'scenario',
    ...contenders.map(({ name }) => name),
    ...(own === undefined ? [] : others.map(({ name }) => `to ${name.split(' ')[0]}`)),
  ];
  const rows = titles.map((title) => {
    const find = ({ results }: Contender): Result | undefined => results.find((result) => result.title === title);
    const ratios = own === undefined ? [] : others.map((other) => formatRatio(find(own), find(other)));
    return [title, ...contenders.map((contender) => describe(find(contender))), ...ratios];
  });
  const memory = ['RSS after all (peak), MB', ...contenders.map(describeMemory)];
  return [
    `Machine: ${machine}; Node ${process.versions.node}.`,
    'Cells: rate, p50 / p99 in ms, CPU ms of the server + of PostgreSQL for one operation.',
    'Ratios: how many times the rate of the other, or how many times shorter the p99 where only latency counts.',
    '',
    formatTable(header, [...rows, memory]),
    '',
  ].join('\n');
}

function describe(result: Result | undefined): string {
  if (result === undefined) return '';
  const { latencies, serverCpu, postgresCpu } = result;
  const times = `${formatFigure(latencies.p50)} / ${formatFigure(latencies.p99)} ms`;
  const rate = LATENCY_ONLY.has(result.title) ? '' : `${formatFigure(result.perSecond)}/s, `;
  return `${rate}${times}, ${formatFigure(serverCpu)} + ${formatFigure(postgresCpu)}`;
}

function formatRatio(own: Result | undefined, other: Result | undefined): string {
  if (own === undefined || other === undefined) return '';
  const ratio = LATENCY_ONLY.has(own.title) ? other.latencies.p99 / own.latencies.p99 : own.perSecond / other.perSecond;
  return `${formatFigure(ratio)}x`;
}

function describeMemory({ results }: Contender): string {
  const last = results.at(-1);
  if (last === undefined) return '';
  return `${formatMegabytes(last.memory.serverBytes)} (${formatMegabytes(last.memory.serverPeakBytes)})`;
}
