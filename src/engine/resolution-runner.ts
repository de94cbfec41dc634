/**
 * Where states are resolved: small ones at once, large ones in a worker thread, so that no room keeps the others waiting.
 * One thread, started when it is first needed; its work waits in line. One that died takes its work down with it, and the
 * next piece starts another.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { KeyedQueue } from '../lib/keyed-queue.ts';
import { type Resolution, type ResolutionWork, runResolution } from './resolution-work.ts';
import type { ResolutionAnswer } from './resolution-worker.ts';

/** Measured: resolving this many events takes some 9 ms, and sending them to a thread a fifth of that. */
const MAX_EVENTS_INLINE = 1_000;

export interface ResolutionRunner extends AsyncDisposable {
  run(work: ResolutionWork): Promise<Resolution>;
}

export function createResolutionRunner(maxEventsInline = MAX_EVENTS_INLINE): ResolutionRunner {
  const queue = new KeyedQueue<'thread'>();
  let worker: Worker | undefined;

  async function runInThread(work: ResolutionWork): Promise<Resolution> {
    const thread = worker ?? startThread();
    worker = thread;
    thread.ref();
    const settled = new AbortController();
    const { signal } = settled;
    try {
      const gone = once(thread, 'exit', { signal }).then(() => {
        throw new Error('the thread that resolves states has ended');
      });
      thread.postMessage(work);
      const [message] = await Promise.race([once(thread, 'message', { signal }), gone]);
      const { resolution, failure } = message as ResolutionAnswer;
      if (resolution === undefined) throw new Error('a state could not be resolved', { cause: failure });
      return resolution;
    } catch (cause) {
      if (worker === thread) worker = undefined;
      await thread.terminate();
      throw cause;
    } finally {
      settled.abort();
      thread.unref();
    }
  }

  return {
    run: async (work) =>
      work.events.length <= maxEventsInline ? runResolution(work) : queue.run('thread', () => runInThread(work)),
    async [Symbol.asyncDispose]() {
      await worker?.terminate();
    },
  };
}

/** The file beside this one: TypeScript in a checkout, JavaScript where it was compiled. */
function startThread(): Worker {
  const isSource = import.meta.url.endsWith('.ts');
  const thread = new Worker(new URL(isSource ? './resolution-worker.ts' : './resolution-worker.js', import.meta.url));
  thread.unref();
  return thread;
}
