/**
 * The commands about the configuration file. None of them starts anything.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { renderExample } from '../config/example.ts';
import { type Config, loadConfig, parseConfig } from '../config/load.ts';
import { renderJsonSchema, renderReference } from '../config/reference.ts';
import { OperatorError } from '../lib/operator-error.ts';

export function checkConfig(path: string): void {
  loadExisting(path);
  console.log(`${path}: no problems`);
}

export async function initConfig(path: string, serverName: string | undefined): Promise<void> {
  if (!(await writeExample(path, serverName))) throw new OperatorError(`${path} is already there`);
  console.log(`wrote ${path}`);
}

export function printReference(): void {
  process.stdout.write(renderReference());
}

export function printSchema(): void {
  console.log(JSON.stringify(renderJsonSchema(), undefined, 2));
}

/** Writes the example file unless there is one already; says whether it did. */
export async function writeExample(path: string, serverName?: string): Promise<boolean> {
  const text = renderExample(serverName === undefined ? {} : { server_name: serverName });
  parseConfig(text, path);
  await mkdir(dirname(path), { recursive: true });
  try {
    // For the server's user alone: secrets will be written into it.
    await writeFile(path, text, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') return false;
    throw cause;
  }
}

/** Loads the file, and says how to make one where there is none. */
export function loadExisting(path: string): Config {
  try {
    return loadConfig(path);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') {
      throw new OperatorError(`there is no ${path}; write one with: hammerhead config init --config ${path}`, {
        cause,
      });
    }
    throw cause;
  }
}
