/**
 * Looks at processes through Linux's /proc: who descends from whom, and what they cost. A process that vanishes while it
 * is read counts as not there. CPU time includes that of children already waited for, so the sum over a tree never
 * falls when a PostgreSQL backend exits.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
  readonly cpuMs: number;
  /** Ended, and not yet waited for by its parent. */
  readonly isZombie: boolean;
}

/** Linux counts CPU time in ticks of USER_HZ, which is 100 on every platform that Node supports. */
const MS_PER_TICK = 10;

export function listProcesses(): ProcessStat[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((entry) => getProcessStat(Number(entry)))
    .filter((stat) => stat !== undefined);
}

export function getProcessStat(pid: number): ProcessStat | undefined {
  const text = readProc(pid, 'stat');
  if (text === undefined) return undefined;
  // The name stands in parentheses and may itself contain spaces and parentheses.
  const nameEnd = text.lastIndexOf(')');
  const fields = text.slice(nameEnd + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    pid,
    parent: Number(fields[1]),
    name: text.slice(text.indexOf('(') + 1, nameEnd),
    cpuMs: ticks * MS_PER_TICK,
    isZombie: fields[0] === 'Z',
  };
}

/** The folder that a process works in; PostgreSQL's is its data folder. */
export function getWorkingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

/** The processes of `roots` and everything below them. */
export function listTree(roots: readonly number[]): ProcessStat[] {
  const all = listProcesses();
  const found = new Set(roots);
  let before = -1;
  while (found.size !== before) {
    before = found.size;
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
  }
  return all.filter(({ pid }) => found.has(pid));
}

/** A field of /proc/PID/status in bytes: VmRSS (resident now) or VmHWM (the most it ever was). */
export function getMemory(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readProc(pid, 'status') ?? '');
  return match === null ? 0 : Number(match[1]) * 1024;
}

/** Resident bytes with shared pages divided by their users: what PostgreSQL's processes really take together. */
export function getProportionalMemory(pid: number): number {
  const match = /^Pss:\s+(\d+) kB/m.exec(readProc(pid, 'smaps_rollup') ?? '');
  return match === null ? 0 : Number(match[1]) * 1024;
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}
