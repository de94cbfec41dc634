/**
 * What tests with random requests and answers of other servers have in common: a server of ours whose faults are kept, a
 * peer, how many runs, what they cost the event loop, and what may be answered because of them.
 */
import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { AnsweringPeer } from './answering-peer.ts';
import { createTestAuthority } from './certificates.ts';
import { createFaultLogger } from './fault-logger.ts';
import { startHomeserver, type TestClient, type TestHomeserver } from './federation.ts';

const { values: options } = parseArgs({
  options: { runs: { type: 'string' }, seed: { type: 'string' } },
  strict: false,
});
const LONG_FACTOR = 40;
/** Where runs are counted by the thousand a stall is one of the server's; one process runs it, the peer and the test. */
const MAX_STALL_MS = 2_000;
const IS_LONG = process.env['HAMMERHEAD_LONG_TESTS'] !== undefined || options.runs !== undefined;

/** The same in every ordinary run, so that a change is told from chance; long runs look for what is new. */
const ORDINARY_SEED = 4711;
const SEED = Number(options.seed ?? (IS_LONG ? Date.now() % 2 ** 31 : ORDINARY_SEED));

/** `runs` in an ordinary run: `--runs N` and `--seed N` are for other ones. */
export function fuzzing(runs: number): { readonly numRuns: number; readonly seed: number } {
  const numRuns = Number(options.runs ?? (IS_LONG ? runs * LONG_FACTOR : runs));
  return { numRuns, seed: SEED };
}

export interface FuzzScene extends AsyncDisposable {
  readonly here: TestHomeserver;
  readonly alice: TestClient;
  readonly peer: AnsweringPeer;
  /** What `here` logged as its own. */
  readonly faults: readonly string[];
  /** The longest that nothing else could run, so far. */
  describeStall(): string;
}

export async function startFuzzScene(): Promise<FuzzScene> {
  await using stack = new AsyncDisposableStack();
  const authority = stack.use(await createTestAuthority());
  const faults: string[] = [];
  const here = stack.use(await startHomeserver({ authority, logger: createFaultLogger(faults) }));
  const peer = stack.use(await AnsweringPeer.start(authority));
  const alice = await here.register('alice');
  const delays = monitorEventLoopDelay({ resolution: 10 });
  delays.enable();
  const resources = stack.move();
  return {
    here,
    alice,
    peer,
    faults,
    describeStall() {
      const longest = Math.round(delays.max / 1e6);
      if (IS_LONG) assert.ok(longest < MAX_STALL_MS, `the event loop stood still for ${longest} ms`);
      return `at most ${longest} ms in one piece, ${Math.round(process.memoryUsage.rss() / 1024 ** 2)} MB`;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** That another server gave no answer of use is none of our faults. */
const GATEWAY = new Set([502, 504]);

export function assertNoFault(status: number, what: string): void {
  assert.ok(status < 500 || GATEWAY.has(status), `${status} ${what}`);
}
