/**
 * docs/operating.md, run: every block marked `sh`, in order, as written, by root on a machine where nothing of Hammerhead is
 * (test/support/machine.sh). Only the ports are other ones, since this machine's may be taken. It installs the package, so it
 * takes minutes: with `--long` only.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createProgram } from '../../src/cli/program.ts';
import { findProgram, run } from '../support/cli.ts';
import { findFreePort } from '../support/server-process.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MACHINE = join(ROOT, 'test/support/machine.sh');
const text = readFileSync(join(ROOT, 'docs/operating.md'), 'utf8');
const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block = '']) => block);

const needed = ['unshare', 'setpriv', 'runuser', 'useradd', 'psql', 'openssl', 'curl', 'git'];
const missing = needed.filter((program) => findProgram(program) === undefined);
const skip =
  process.env['HAMMERHEAD_LONG_TESTS'] === undefined
    ? 'docs/operating.md was NOT run: say --long'
    : process.getuid?.() !== 0 || missing.length > 0
      ? `docs/operating.md was NOT run: it takes root on Linux, and ${needed.join(', ')}`
      : false;

describe('docs/operating.md', () => {
  test('every command that it names exists', () => {
    const program = createProgram();
    const admin = program.commands.find((command) => command.name() === 'admin');
    // In a crontab, the user of the same name stands before it.
    const words = (name: string): readonly string[] =>
      [...text.matchAll(new RegExp(`(?:^|[\`$( ])${name} ([a-z][a-z-]*)`, 'gm'))].map(([, word = '']) => word);
    const unknown = [
      ...words('hammerhead').filter((word) => !program.commands.some((command) => command.name() === word)),
      ...words('hammerheadctl').filter((word) => !admin?.commands.some((command) => command.name() === word)),
    ];
    assert.deepEqual(
      [...new Set(unknown)].filter((word) => word !== 'hammerhead'),
      [],
    );
    assert.ok(words('hammerhead').length > 10 && words('hammerheadctl').length > 10);
  });

  test('every block runs as it stands', { skip, timeout: 15 * 60_000 }, async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'hammerhead-docs-'));
    chmodSync(scratch, 0o755);
    const [port, metricsPort] = await Promise.all([findFreePort(), findFreePort()]);
    const checkout = join(scratch, 'checkout');
    execFileSync('git', ['clone', '--quiet', ROOT, checkout]);
    const script = join(scratch, 'blocks.sh');
    writeFileSync(script, renderScript(port, metricsPort));
    try {
      const { status, stdout, stderr } = await run(
        'unshare',
        ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', script],
        { cwd: checkout, env: { SCRATCH: scratch, PORT: String(port) } },
      );
      const log = join(scratch, 'service.log');
      const service = existsSync(log) ? readFileSync(log, 'utf8').slice(-2_000) : '';
      assert.equal(status, 0, `${stdout.slice(-6_000)}\n${stderr.slice(-3_000)}\n${service}`);
      assert.match(stdout, /^all blocks ran$/m);
    } finally {
      rmSync(scratch, { recursive: true, force: true, maxRetries: 10 });
    }
  });
});

/** Each block, announced; the server's ports are changed as soon as there is a configuration. */
function renderScript(port: number, metricsPort: number): string {
  const config = '/etc/hammerhead/config.yaml';
  const ports = `sed -i 's/port: 8008/port: ${port}/; s/#port: 9008/port: ${metricsPort}/' ${config}\n`;
  const parts = blocks.map((block, index) => {
    const before = block.includes('DATABASE_URL') ? 'start_other_postgres\n' : '';
    const after = block.includes('config init') ? ports : '';
    const written = block
      .replaceAll('127.0.0.1:8008', `127.0.0.1:${port}`)
      .replaceAll('127.0.0.1:9008', `127.0.0.1:${metricsPort}`);
    return `echo '== block ${index + 1}'\n${before}set -x\n${written}{ set +x; } 2> /dev/null\n${after}`;
  });
  return `. ${MACHINE}\n${parts.join('\n')}\nsystemctl stop\necho 'all blocks ran'\n`;
}
