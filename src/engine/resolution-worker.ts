/**
 * The thread that resolves large states: one message in, one answer out, in order.
 */
import { parentPort } from 'node:worker_threads';
import { type ResolutionWork, runResolution } from './resolution-work.ts';

export interface ResolutionAnswer {
  readonly resolution?: ReturnType<typeof runResolution>;
  readonly failure?: string;
}

parentPort?.on('message', (work: ResolutionWork) => {
  parentPort?.postMessage(answer(work));
});

function answer(work: ResolutionWork): ResolutionAnswer {
  try {
    return { resolution: runResolution(work) };
  } catch (cause) {
    return { failure: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) };
  }
}
