import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { renderWelcome } from '../../src/cli/welcome.ts';
import { renderExample } from '../../src/config/example.ts';
import { parseConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/read.ts';

const BIN = fileURLToPath(new URL('../../bin/', import.meta.url));

const hammerhead = (...options: string[]) =>
  spawnSync(process.execPath, [join(BIN, 'hammerhead.js'), ...options], { encoding: 'utf8' });

const problemsOf = (text: string): readonly string[] => {
  try {
    parseConfig(text, '/etc/hammerhead/config.yaml');
  } catch (cause) {
    if (cause instanceof ConfigError) return cause.problems.map((problem) => problem.replace(/^.*config\.yaml/, ''));
    throw cause;
  }
  return [];
};

describe('configuration', () => {
  test('the example is valid, sets the main keys, and means the defaults', () => {
    const example = parseConfig(renderExample(), '/srv/config.yaml');
    assert.deepEqual(example, parseConfig('', '/srv/config.yaml'));
    assert.equal(example.serverName, 'localhost');
    assert.equal(example.dataDir, '/srv/data');
    assert.equal(example.mediaRepo.rootPath, '/srv/data/media');
    assert.deepEqual([example.listeners[0]?.address, example.listeners[0]?.port], ['127.0.0.1', 8008]);
    assert.equal(example.database.maxOpenLifetime, 3_600_000);
  });

  test('every commented-out setting of the example is valid when it is turned on', () => {
    const turnedOn = renderExample().replaceAll(/^( *)#(?! )/gm, '$1');
    const withoutFiles = turnedOn.replaceAll(/^ *\w+_file: .*$/gm, '').replaceAll(': ...', ': 0123456789abcdef');
    assert.deepEqual(problemsOf(withoutFiles), []);
    assert.ok(Object.keys(parse(withoutFiles).rate_limits.login).includes('burst'));
  });

  const refused: readonly [string, string, string][] = [
    [
      'an unknown key',
      'server_nam: x',
      ':1: server_nam: expected a known key, got server_nam; did you mean server_name?',
    ],
    [
      'an unknown key inside',
      'database:\n  max_open_conections: 5',
      ':2: database.max_open_conections: expected a known key, got max_open_conections; did you mean max_open_connections?',
    ],
    ['a wrong type', 'registration: { enabled: "yes" }', ':1: registration.enabled: expected true or false, got "yes"'],
    [
      'a bad port',
      'listeners:\n  - port: 70000',
      ':2: listeners[0].port: expected a whole number from 0 to 65535, got 70000',
    ],
    [
      'a bad name',
      '\n\nserver_name: https://x',
      ':3: server_name: expected a server name like example.org or example.org:8448, got "https://x"',
    ],
    [
      'a bad duration',
      'database: { max_open_lifetime: 5 }',
      ':1: database.max_open_lifetime: expected a duration like 30s, 5m or 1h, got 5',
    ],
    [
      'a choice',
      'logging: { writers: [{ format: jsn }] }',
      ':1: logging.writers[0].format: expected one of pretty, json, got "jsn"; did you mean json?',
    ],
    [
      'a value for a section',
      'database: postgresql://u:hunter2@h/d',
      ':1: database: expected a section with keys like url, url_file, max_open_connections, got a text',
    ],
    [
      'both forms of a secret',
      'registration:\n  token: abc\n  token_file: x',
      ':3: registration.token_file: expected either token or token_file, got both',
    ],
    [
      'a short secret',
      'registration: { shared_secret: short }',
      ': registration.shared_secret: expected at least 10 characters, since it makes administrators',
    ],
    [
      'the same place twice',
      'listeners: [{ port: 1 }, { port: 1 }]',
      ': listeners: expected each place once, got 127.0.0.1 port 1 twice',
    ],
  ];
  for (const [name, text, problem] of refused) {
    test(`refuses ${name}`, () => {
      assert.equal(problemsOf(text)[0], problem);
    });
  }

  test('says everything that is wrong at once, and never a secret', () => {
    const problems = problemsOf(
      'a: 1\nregistration:\n  token: [hunter2]\n  enabled: 3\nrooms: { default_version: 12 }',
    );
    assert.equal(problems.length, 4);
    assert.ok(!problems.join().includes('hunter2'));
  });

  test('reads secrets from files, relative to the configuration', () => {
    const folder = mkdtempSync(join(tmpdir(), 'hammerhead-config-'));
    writeFileSync(join(folder, 'secret.txt'), '0123456789abcdef\n');
    const config = parseConfig('registration: { shared_secret_file: ./secret.txt }', join(folder, 'config.yaml'));
    rmSync(folder, { recursive: true });
    assert.equal(config.registration.sharedSecret?.reveal(), '0123456789abcdef');
    assert.ok(!JSON.stringify(config).includes('0123456789abcdef'));
    assert.equal(`${config.registration.sharedSecret}`, '[redacted]');
  });
});

describe('commands', () => {
  test('config init writes a file for its owner alone, and never over another', () => {
    const folder = mkdtempSync(join(tmpdir(), 'hammerhead-config-'));
    const path = join(folder, 'sub', 'config.yaml');
    assert.equal(hammerhead('config', 'init', '--config', path, '--server-name', 'example.org').status, 0);
    assert.match(readFileSync(path, 'utf8'), /^server_name: example\.org$/m);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(hammerhead('config', 'init', '-c', path).status, 1);
    assert.equal(hammerhead('config', 'check', '-c', path).stdout, `${path}: no problems\n`);
    writeFileSync(path, 'server_nam: x\nlisteners: 3\n');
    const { status, stderr } = hammerhead('config', 'check', '-c', path);
    assert.equal(status, 1);
    assert.match(stderr, /config\.yaml:1: server_nam:.*\n.*config\.yaml:2: listeners: expected a list, got 3/);
    rmSync(folder, { recursive: true });
  });

  test('every command has help, unknown ones a hint, and hammerheadctl is hammerhead admin', () => {
    for (const command of ['serve', 'config', 'db', 'admin', 'version']) {
      const { status, stdout } = hammerhead(command, '--help');
      assert.equal(status, 0);
      assert.match(stdout, new RegExp(`Usage: hammerhead ${command}`));
    }
    assert.match(hammerhead('sevre').stderr, /Did you mean serve\?/);
    for (const options of [['--help'], ['admin', '--help']]) {
      const ctl = spawnSync(process.execPath, [join(BIN, 'hammerheadctl.js'), ...options], { encoding: 'utf8' });
      assert.equal(ctl.stdout, hammerhead('admin', '--help').stdout);
    }
  });

  test('config schema is JSON and knows every key', () => {
    const schema = JSON.parse(hammerhead('config', 'schema').stdout);
    assert.deepEqual(schema.properties.rooms.properties.default_version.default, '12');
    assert.ok('url_file' in schema.properties.database.properties);
  });
});

describe('welcome', () => {
  const options = { version: '1.2.3', serverName: 'localhost', addresses: ['http://127.0.0.1:8008'] };

  test('is one line once there are accounts', () => {
    const line = 'Hammerhead 1.2.3 serves localhost at http://127.0.0.1:8008';
    assert.equal(renderWelcome({ ...options, registrationToken: undefined }), line);
  });

  test('tells how to make the first account', () => {
    const text = renderWelcome({ ...options, registrationToken: 'TOKEN' });
    assert.match(text, /curl .*"token":"TOKEN".*\n\s+http:\/\/127\.0\.0\.1:8008\/_matrix\/client\/v3\/register/);
  });
});
