/**
 * Measures any homeserver through its client-server API; docs/benchmarks.md says what each scenario does.
 *
 *   node bench/run.ts --url http://127.0.0.1:8008 [--pid PID,...] [--scenario NAME,...] [--quick] [--json FILE]
 *                     [--registration-token TOKEN | --shared-secret SECRET]
 *
 * The server needs its rate limits off and, without a token or secret, open registration. --pid names the server's
 * process, and its PostgreSQL's postmaster where the server did not start that itself; without it no costs are shown.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createApi } from './lib/api.ts';
import type { Result } from './lib/bench.ts';
import { createHttpClient } from './lib/client.ts';
import { runScenarios } from './lib/scenarios.ts';
import { formatTable, RESULT_HEADER, toRow } from './lib/table.ts';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8008' },
    pid: { type: 'string', default: '' },
    scenario: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
    json: { type: 'string' },
    'registration-token': { type: 'string' },
    'shared-secret': { type: 'string' },
  },
});

const results: Result[] = [];
const http = createHttpClient(options.url);
const api = createApi(http, {
  registrationToken: options['registration-token'],
  sharedSecret: options['shared-secret'],
});
try {
  await runScenarios({
    api,
    pids: splitList(options.pid).map(Number),
    names: splitList(options.scenario),
    isQuick: options.quick,
    onResult(result) {
      results.push(result);
      process.stderr.write(`${result.title}: ${toRow(result).slice(1, 7).join('  ')}\n`);
    },
  });
} finally {
  await http.close();
}
console.log(formatTable(RESULT_HEADER, results.map(toRow)));
if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);

function splitList(text: string): string[] {
  return text.split(',').filter((part) => part !== '');
}
