/**
 * `serve`: a configuration file where there is none, the server, what the operator has to know, and an end in good order.
 * SIGTERM and SIGINT stop gracefully (a second one at once), SIGHUP reloads, and a fault that nobody handled stops too:
 * what is committed is safe, and what is in memory can't be trusted any more.
 */

import type { Config } from '../config/load.ts';
import { loadBuildInfo } from '../lib/build-info.ts';
import { systemClock } from '../lib/clock.ts';
import { type ClosableLogger, createLogger } from '../lib/logger.ts';
import { type RunningServer, startServer } from '../server.ts';
import { loadExisting, writeExample } from './config.ts';
import { renderWelcome } from './welcome.ts';

/** Service managers send SIGKILL after ten seconds or more. */
const STOP_TIMEOUT_MS = 10_000;

/** One Ctrl-C may arrive twice, from the terminal and passed on by npm: only a later one means "at once". */
const ECHO_MS = 500;

/** Resolves when the server has stopped. */
export async function serve(configPath: string): Promise<void> {
  const wroteConfig = await writeExample(configPath);
  const config = loadExisting(configPath);
  const logger = createLogger(config.logging.writers);
  const ending = listenForEnd(logger);
  const server = await startServer({ config, configPath: config.path, logger });
  const reload = (): void => reloadConfig(server, { configPath, logger });
  process.on('SIGHUP', reload);
  if (wroteConfig) console.log(`Wrote the configuration file ${config.path}`);
  await printWelcome(config, server);
  const reason = await ending.promise;
  process.off('SIGHUP', reload);
  await stop(server, logger);
  logger.flush();
  if (reason === 'fault') process.exitCode = 1;
  process.exit(process.exitCode ?? 0);
}

type EndReason = 'signal' | 'fault';

function listenForEnd(logger: ClosableLogger): { promise: Promise<EndReason> } {
  const { promise, resolve } = Promise.withResolvers<EndReason>();
  let endingSince: number | undefined;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (endingSince !== undefined && systemClock.monotonic() - endingSince > ECHO_MS) exitNow(logger);
    endingSince ??= systemClock.monotonic();
    logger.debug({ signal }, 'stopping');
    resolve('signal');
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  const onFault = (cause: unknown): void => {
    logger.error({ cause }, 'a fault that nobody handled; stopping');
    if (endingSince !== undefined) exitNow(logger);
    endingSince = systemClock.monotonic();
    resolve('fault');
  };
  process.on('uncaughtException', onFault);
  process.on('unhandledRejection', onFault);
  return { promise };
}

function exitNow(logger: ClosableLogger): never {
  logger.flush();
  process.exit(1);
}

async function stop(server: RunningServer, logger: ClosableLogger): Promise<void> {
  const deadline = setTimeout(() => {
    logger.error({}, 'did not stop in time; ending at once');
    exitNow(logger);
  }, STOP_TIMEOUT_MS);
  await server.stop();
  clearTimeout(deadline);
}

async function printWelcome(config: Config, server: RunningServer): Promise<void> {
  const { version } = await loadBuildInfo();
  const { addresses, registrationToken } = server;
  console.log(renderWelcome({ version, serverName: config.serverName, addresses, registrationToken }));
}

function reloadConfig(server: RunningServer, files: { configPath: string; logger: ClosableLogger }): void {
  try {
    server.reload(loadExisting(files.configPath));
    files.logger.info({}, 'reloaded the configuration');
  } catch (cause) {
    files.logger.error({ cause }, 'kept the old configuration');
  }
}
