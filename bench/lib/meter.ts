/**
 * Meters what the server's processes cost while a scenario runs: CPU time of the server itself and of its PostgreSQL
 * apart, and memory. Everything below the given processes belongs to the server; whatever is called `postgres` is
 * PostgreSQL. For a database that the server did not start, name its postmaster as well.
 */
import { getMemory, getProportionalMemory, listTree } from '../../test/support/processes.ts';

interface Cost {
  readonly serverCpuMs: number;
  readonly postgresCpuMs: number;
  /** The load generator's own: near one core's worth means that it, not the server, was the limit. */
  readonly generatorCpuMs: number;
}

export interface Memory {
  readonly serverBytes: number;
  readonly serverPeakBytes: number;
  readonly postgresBytes: number;
}

export interface Meter {
  /** The costs since the meter was made; subtract two readings. */
  read(): Cost;
  readMemory(): Memory;
}

export function createMeter(pids: readonly number[]): Meter {
  return {
    read() {
      const { server, postgres } = splitTree(pids);
      const { user, system } = process.cpuUsage();
      return {
        serverCpuMs: sum(server.map(({ cpuMs }) => cpuMs)),
        postgresCpuMs: sum(postgres.map(({ cpuMs }) => cpuMs)),
        generatorCpuMs: (user + system) / 1000,
      };
    },
    readMemory() {
      const { server, postgres } = splitTree(pids);
      return {
        serverBytes: sum(server.map(({ pid }) => getMemory(pid, 'VmRSS'))),
        serverPeakBytes: sum(server.map(({ pid }) => getMemory(pid, 'VmHWM'))),
        postgresBytes: sum(postgres.map(({ pid }) => getProportionalMemory(pid))),
      };
    },
  };
}

export function subtractCost(after: Cost, before: Cost): Cost {
  return {
    serverCpuMs: after.serverCpuMs - before.serverCpuMs,
    postgresCpuMs: after.postgresCpuMs - before.postgresCpuMs,
    generatorCpuMs: after.generatorCpuMs - before.generatorCpuMs,
  };
}

function splitTree(pids: readonly number[]) {
  const tree = listTree(pids);
  return {
    server: tree.filter(({ name }) => name !== 'postgres'),
    postgres: tree.filter(({ name }) => name === 'postgres'),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
