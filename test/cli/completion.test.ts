/**
 * The completion scripts in real shells: what Tab offers. Shells that are not installed are skipped, and say so.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { renderCompletion, type Shell } from '../../src/cli/completion.ts';
import { createProgram } from '../../src/cli/program.ts';
import { findProgram, hammerhead, hammerheadctl, run } from '../support/cli.ts';

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'hammerhead-completion-'));
  writeFileSync(join(folder, 'my file.yaml'), '');
});
after(() => rmSync(folder, { recursive: true }));

function scriptOf(shell: Shell): string {
  const path = join(folder, `hammerhead.${shell}`);
  writeFileSync(path, renderCompletion(shell, 'hammerhead', createProgram()));
  return path;
}

/** What is offered for the last of `words`. */
const SHELLS: Readonly<Record<Shell, (words: readonly string[]) => Promise<readonly string[]>>> = {
  async bash(words) {
    const line = `source '${scriptOf('bash')}'; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
      COMP_CWORD=${words.length - 1}; compopt() { :; }; _hammerhead; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return lines(await run('bash', ['-c', line], { cwd: folder }));
  },
  async zsh(words) {
    // `compadd` and `_describe` are what a script tells the shell: here they print it.
    const line = `compdef() { :; }; _files() { print -rl -- *; }
      compadd() { shift; print -rl -- "$@"; }
      _describe() { local name=\${@[-1]}; print -rl -- \${\${(P)name}%%:*}; }
      source '${scriptOf('zsh')}'; words=(${words.map((word) => `'${word}'`).join(' ')}); CURRENT=${words.length}; _hammerhead`;
    return lines(await run('zsh', ['-f', '-c', line], { cwd: folder }));
  },
  async fish(words) {
    const line = `source '${scriptOf('fish')}'; complete -C '${words.join(' ')}'`;
    return lines(await run('fish', ['--no-config', '-c', line], { cwd: folder })).map(
      (found) => found.split('\t')[0] ?? '',
    );
  },
};

function lines({ stdout, stderr, status }: { stdout: string; stderr: string; status: number }): readonly string[] {
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

const offered: readonly {
  readonly name: string;
  readonly words: readonly string[];
  readonly all: readonly string[];
  readonly none: readonly string[];
}[] = [
  {
    name: 'commands',
    words: ['hammerhead', ''],
    all: ['serve', 'doctor', 'backup', 'admin'],
    none: ['users', 'check'],
  },
  {
    name: 'commands below a command',
    words: ['hammerhead', 'admin', 'users', ''],
    all: ['create', 'list', 'deactivate'],
    none: ['serve'],
  },
  {
    name: 'options of a command',
    words: ['hammerhead', 'backup', '--'],
    all: ['--media', '--verify', '--config'],
    none: ['--force'],
  },
  {
    name: 'commands behind an option and its value',
    words: ['hammerhead', 'admin', 'rooms', 'list', '--search', 'admin', '--'],
    all: ['--order', '--limit'],
    none: ['--media'],
  },
  {
    name: 'the choices of an option',
    words: ['hammerhead', 'admin', 'rooms', 'list', '--order', ''],
    all: ['members', 'events', 'name'],
    none: ['--limit', 'list'],
  },
  {
    name: 'files where an option takes a path',
    words: ['hammerhead', 'serve', '--config', ''],
    all: ['my file.yaml'],
    none: ['--help'],
  },
];

for (const shell of ['bash', 'zsh', 'fish'] as const) {
  const missing = findProgram(shell) === undefined ? `${shell} is not installed: its completion was NOT tested` : false;
  describe(shell, { skip: missing }, () => {
    for (const { name, words, all, none } of offered) {
      test(`offers ${name}`, async () => {
        const found = (await SHELLS[shell](words)).map((word) => word.replaceAll('\\', ''));
        assert.deepEqual(
          all.filter((word) => !found.includes(word)),
          [],
          `offered: ${found.join(', ')}`,
        );
        assert.deepEqual(
          none.filter((word) => found.includes(word)),
          [],
        );
      });
    }
  });
}

test('both programs print a script of their own, for known shells only', async () => {
  assert.match((await hammerhead(['completion', 'bash'])).stdout, /complete .* hammerhead\n/);
  assert.match((await hammerheadctl(['completion', 'bash'])).stdout, /complete .* hammerheadctl\n/);
  assert.match((await hammerheadctl(['completion', 'fish'])).stdout, /complete -c hammerheadctl/);
  assert.equal((await hammerhead(['completion', 'cmd'])).status, 2);
});
