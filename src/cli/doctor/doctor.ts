/**
 * `doctor`: examines everything that a server depends on, whether it runs or not, and says of each problem what to do. It
 * changes nothing; where the server's own PostgreSQL is stopped, it runs for the time of the examination.
 */
import { join } from 'node:path';
import { loadSigningKey } from '../../config/signing-key.ts';
import { loadBuildInfo } from '../../lib/build-info.ts';
import { type Clock, systemClock } from '../../lib/clock.ts';
import type { SigningKey } from '../../protocol/signing.ts';
import { loadExisting } from '../config.ts';
import { checkDatabase } from './database.ts';
import { checkDelegation } from './delegation.ts';
import { checkDisks } from './disk.ts';
import { type Finding, fail, messageOf, ok } from './finding.ts';
import { checkCertificates, checkListeners } from './listeners.ts';
import { systemNetwork } from './network.ts';
import { checkPermissions } from './permissions.ts';

/** Prints the findings; whether nothing failed. */
export async function runDoctor(configPath: string, isJson: boolean): Promise<boolean> {
  const findings = await examine(configPath, systemClock);
  const isHealthy = findings.every(({ level }) => level !== 'fail');
  if (isJson) console.log(JSON.stringify({ healthy: isHealthy, findings }, undefined, 2));
  else for (const line of renderFindings(findings, process.stdout.isTTY === true)) console.log(line);
  return isHealthy;
}

async function examine(configPath: string, clock: Clock): Promise<readonly Finding[]> {
  try {
    const config = loadExisting(configPath);
    const listeners = await checkListeners(config);
    const parts = await Promise.all([
      [ok('config', `${config.path} has no problems`)],
      checkPermissions(config),
      checkDisks(config),
      checkOwnClock(clock),
      checkDatabase(config, clock),
      checkCertificates(config, clock),
      checkDelegation(config, systemNetwork, await loadOwnKey(config.dataDir)),
    ]);
    return [...parts.flat(), ...listeners];
  } catch (cause) {
    return [fail('config', messageOf(cause), 'correct the file; docs/configuration.md describes every key')];
  }
}

/** What is wrong with the file is said elsewhere. */
async function loadOwnKey(dataDir: string): Promise<SigningKey | undefined> {
  return loadSigningKey(join(dataDir, 'signing.key')).catch(() => undefined);
}

/** Nothing is older than the program that looks at the clock. */
async function checkOwnClock(clock: Clock): Promise<readonly Finding[]> {
  const { buildDate } = await loadBuildInfo();
  const shown = new Date(clock.now()).toISOString();
  if (clock.now() >= buildDate) return [ok('clock', `it is ${shown}`)];
  return [
    fail(
      'clock',
      `this machine says it is ${shown}, which is before this version was made`,
      'let it follow a time server (systemd-timesyncd, chrony)',
    ),
  ];
}

const COLORS = { ok: '\u001b[32m', warn: '\u001b[33m', fail: '\u001b[31m' } as const;
const RESET = '\u001b[0m';
const LEVEL_WIDTH = 4;

export function renderFindings(findings: readonly Finding[], hasColors: boolean): readonly string[] {
  const width = Math.max(...findings.map(({ check }) => check.length));
  const indent = ' '.repeat(LEVEL_WIDTH + 2 + width + 2);
  const lines = findings.flatMap(({ level, check, message, remedy }) => {
    const shown = level.padEnd(LEVEL_WIDTH);
    const head = `${hasColors ? COLORS[level] + shown + RESET : shown}  ${check.padEnd(width)}  `;
    const text = message.replaceAll('\n', `\n${indent}`);
    return remedy === undefined ? [head + text] : [head + text, `${indent}-> ${remedy}`];
  });
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length;
  return [...lines, `${count('fail')} failed, ${count('warn')} warnings`];
}
