/**
 * Closed-loop load: a number of workers, each starting its next operation when its last one has been answered.
 */
import type { Recorder } from './bench.ts';

interface Load {
  readonly operations: number;
  readonly atOnce: number;
}

/** Runs `operate(index, worker)` for each index below `operations`, at most `atOnce` at a time. */
export async function runLoad(
  { operations, atOnce }: Load,
  operate: (index: number, worker: number) => Promise<unknown>,
  record: Recorder = () => undefined,
): Promise<void> {
  let next = 0;
  const work = async (worker: number): Promise<void> => {
    while (next < operations) {
      const index = next++;
      const start = performance.now();
      await operate(index, worker);
      record(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, (_, worker) => work(worker)));
}
