/**
 * What a scenario is given: the API, accounts and rooms that scenarios share, and `measure`, which turns recorded
 * latencies and the meter's readings into one result.
 */
import type { Api } from './api.ts';
import { createFixtures, type Fixtures } from './fixtures.ts';
import { type Memory, type Meter, subtractCost } from './meter.ts';
import { type Latencies, summarize } from './stats.ts';

export interface Result {
  readonly title: string;
  readonly operations: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly latencies: Latencies;
  /** CPU milliseconds for one operation. */
  readonly serverCpu: number;
  readonly postgresCpu: number;
  readonly generatorCpu: number;
  readonly memory: Memory;
}

/** Takes the milliseconds that one operation took. */
export type Recorder = (milliseconds: number) => void;

export interface Bench {
  readonly api: Api;
  readonly fixtures: Fixtures;
  /** A number of operations, smaller in a quick run. */
  scale(operations: number): number;
  measure(title: string, work: (record: Recorder) => Promise<void>): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  run(bench: Bench): Promise<void>;
}

interface BenchOptions {
  readonly api: Api;
  readonly meter: Meter;
  readonly isQuick: boolean;
  readonly onResult: (result: Result) => void;
}

/** Enough of each scenario to see that it works, in a fifth of the time. */
const QUICK_SHARE = 0.2;

export function createBench({ api, meter, isQuick, onResult }: BenchOptions): Bench {
  return {
    api,
    fixtures: createFixtures(api),
    scale: (operations) => (isQuick ? Math.ceil(operations * QUICK_SHARE) : operations),
    async measure(title, work) {
      const samples: number[] = [];
      const before = meter.read();
      const start = performance.now();
      await work((milliseconds) => samples.push(milliseconds));
      const seconds = (performance.now() - start) / 1000;
      const cost = subtractCost(meter.read(), before);
      const operations = samples.length;
      onResult({
        title,
        operations,
        seconds,
        perSecond: operations / seconds,
        latencies: summarize(samples),
        serverCpu: cost.serverCpuMs / operations,
        postgresCpu: cost.postgresCpuMs / operations,
        generatorCpu: cost.generatorCpuMs / operations,
        memory: meter.readMemory(),
      });
    },
  };
}
