/**
 * What contrib/ gives to other programs, checked by those programs where they are installed (else skipped, and said so), and
 * against what a real server serves.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { findProgram, run } from '../support/cli.ts';
import { at, listAt, textAt } from '../support/json.ts';
import { findFreePort, startServer } from '../support/server-process.ts';

const CONTRIB = fileURLToPath(new URL('../../contrib/', import.meta.url));
const read = (file: string): string => readFileSync(join(CONTRIB, file), 'utf8');
const skipWithout = (program: string, what: string): string | false =>
  findProgram(program) === undefined ? `${program} is not installed: ${what} was NOT checked` : false;

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-contrib-'));
});
after(() => rmSync(folder, { recursive: true }));

/** Runs a program that has to be content. */
async function succeed(program: string, given: readonly string[], cwd: string = CONTRIB): Promise<string> {
  const { status, stdout, stderr } = await run(program, given, { cwd });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return stdout;
}

function alertExpressions(): readonly string[] {
  const groups = listAt(parse(read('prometheus/hammerhead-alerts.yaml')), 'groups');
  return groups.flatMap((group) => listAt(group, 'rules').map((rule) => textAt(rule, 'expr')));
}

/** Grafana fills in the interval when it asks. */
function dashboardExpressions(): readonly string[] {
  const panels = listAt(JSON.parse(read('grafana/hammerhead.json')), 'panels');
  const targets = panels.flatMap((panel) => listAt(panel, 'targets'));
  return targets.map((target) => textAt(target, 'expr').replaceAll('$__rate_interval', '5m'));
}

describe('metrics', () => {
  test('every metric and label that alerts and dashboard name is served', async () => {
    const port = await findFreePort();
    await using server = await startServer({ config: { metrics: { enabled: true, port } } });
    await (await fetch(`${server.url}/_matrix/client/versions`)).text();
    const served = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const names = new Set([...served.matchAll(/^(\w+)[ {]/gm)].map(([, name]) => name));
    // Prometheus makes this one itself.
    names.add('up');
    const expressions = [...alertExpressions(), ...dashboardExpressions()];
    assert.ok(expressions.length > 20);
    const used = expressions.flatMap((text) => text.match(/\b(?:hammerhead|nodejs|process)_\w+|\bup\b/g) ?? []);
    assert.deepEqual(
      [...new Set(used)].filter((name) => !names.has(name)),
      [],
    );
    const grouped = expressions.flatMap((text) => [...text.matchAll(/by \(([^)]*)\)/g)]);
    const matched = expressions.flatMap((text) => [...text.matchAll(/[{,]\s*(\w+)\s*[=!]~?"/g)]);
    const labels = [...grouped, ...matched].flatMap(([, list = '']) => list.split(/,\s*/));
    const known = new Set([...served.matchAll(/[{,](\w+)="/g)].map(([, name = '']) => name)).add('job');
    assert.deepEqual(
      [...new Set(labels)].filter((name) => !known.has(name)),
      [],
    );
    // What is left out of the time to answer is really named so.
    assert.ok(/route="[^"]*\/versions"/.test(served));
  });

  test('the rules are valid and fire', {
    skip: skipWithout('promtool', 'prometheus/hammerhead-alerts.yaml'),
  }, async () => {
    const rules = alertExpressions().length;
    assert.match(
      await succeed('promtool', ['check', 'rules', 'prometheus/hammerhead-alerts.yaml']),
      new RegExp(`${rules} rules found`),
    );
    await succeed('promtool', ['test', 'rules', 'hammerhead-alerts.test.yaml'], join(CONTRIB, 'prometheus'));
    await succeed('promtool', ['check', 'config', '--syntax-only', 'prometheus/scrape.yaml']);
  });

  test('the dashboard asks in valid PromQL', { skip: skipWithout('promtool', 'grafana/hammerhead.json') }, async () => {
    const rules = dashboardExpressions().map((expr, index) => ({ record: `panel:${index}`, expr }));
    const path = join(folder, 'dashboard.json');
    writeFileSync(path, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    await succeed('promtool', ['check', 'rules', path]);
  });

  test('every alert says what it means', () => {
    const groups = listAt(parse(read('prometheus/hammerhead-alerts.yaml')), 'groups');
    for (const rule of groups.flatMap((group) => listAt(group, 'rules'))) {
      assert.ok(
        textAt(rule, 'annotations', 'summary').length > 10 && textAt(rule, 'annotations', 'description').length > 10,
      );
      assert.match(textAt(rule, 'labels', 'severity'), /^(warning|critical)$/);
    }
  });
});

describe('systemd', { skip: skipWithout('systemd-analyze', 'systemd/hammerhead.service') }, () => {
  test('the unit is valid, and exposed to little', async () => {
    const unit = join(folder, 'hammerhead.service');
    // The program is looked up on this machine.
    writeFileSync(unit, read('systemd/hammerhead.service').replace(/^ExecStart=\S+/m, `ExecStart=${process.execPath}`));
    await succeed('systemd-analyze', ['verify', unit]);
    // Of ten; 2.5 and less is what systemd calls OK at its best.
    await succeed('systemd-analyze', ['security', '--offline=true', '--threshold=25', unit]);
  });
});

describe('containers', () => {
  test('the Dockerfile has no problem', { skip: skipWithout('hadolint', 'docker/Dockerfile') }, async () => {
    assert.equal(await succeed('hadolint', ['docker/Dockerfile']), '');
  });

  test('what the image copies is what a package has', () => {
    const { files } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
    const dockerfile = read('docker/Dockerfile');
    for (const file of ['bin', 'dist', 'README.md', 'LICENSE']) {
      assert.ok(files.includes(file));
      assert.match(dockerfile, new RegExp(`/build/${file.replace('.', '\\.')}\\b`));
    }
    const compose = parse(read('docker/compose.yaml'));
    assert.equal(at(compose, 'services', 'hammerhead', 'build', 'dockerfile'), 'contrib/docker/Dockerfile');
    assert.deepEqual(Object.keys(Object(at(compose, 'volumes'))), ['data']);
  });
});
