/**
 * Logs: one child logger per module, fields rather than interpolation, no secrets by construction. The interface is what
 * modules ask for; pino writes behind it, to as many places as the configuration names.
 */
import { inspect } from 'node:util';
import { destination, type Level, multistream, type Logger as PinoLogger, pino, type StreamEntry } from 'pino';
import { createPrettyStream } from './log-format.ts';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  trace(fields: LogFields, message: string): void;
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** A logger whose every line carries `fields` too. */
  child(fields: LogFields): Logger;
}

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export interface LogWriter {
  readonly type: 'stdout' | 'stderr' | 'file';
  /** Where `type` is `file`. */
  readonly path?: string | undefined;
  readonly format: 'pretty' | 'json';
  readonly minLevel: LogLevel;
}

export interface ClosableLogger extends Logger {
  /** Writes what is buffered; for the last moment before exit. */
  flush(): void;
}

const STDOUT = 1;
const STDERR = 2;

/** Writes to every writer what its level admits; without writers nothing is written. */
export function createLogger(writers: readonly LogWriter[]): ClosableLogger {
  const destinations = writers.map(openDestination);
  const streams = writers.map((writer, index): StreamEntry<Level> => {
    const target = destinations[index];
    if (target === undefined) throw new Error('a writer without destination');
    return { level: writer.minLevel, stream: writer.format === 'pretty' ? createPrettyStream(target) : target };
  });
  const logger = pino(
    {
      level: lowestLevel(writers),
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { cause: pino.stdSerializers.err, err: pino.stdSerializers.err },
    },
    multistream(streams),
  );
  return Object.assign(wrap(logger), { flush: () => flushAll(destinations) });
}

/** For tests, and for who needs a logger and has none. */
export const silentLogger: Logger = {
  trace: () => undefined,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};

const REDACTED = '[redacted]';

/** A token, key or password: whoever prints it, logs it or turns it into JSON gets a placeholder. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The only way to the value, so that its uses can be found. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

function wrap(logger: PinoLogger): Logger {
  return {
    trace: (fields, message) => logger.trace(fields, message),
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    child: (fields) => wrap(logger.child(fields)),
  };
}

function flushAll(destinations: readonly ReturnType<typeof destination>[]): void {
  for (const target of destinations) target.flushSync();
}

/** A write for each line costs more CPU than the request that it reports; a killed server loses the last ones at most. */
const BUFFER_BYTES = 4096;
const FLUSH_INTERVAL_MS = 200;

function openDestination(writer: LogWriter): ReturnType<typeof destination> {
  const buffered = { sync: false, minLength: BUFFER_BYTES, periodicFlush: FLUSH_INTERVAL_MS };
  if (writer.type !== 'file') return destination({ ...buffered, fd: writer.type === 'stdout' ? STDOUT : STDERR });
  if (writer.path === undefined) throw new Error('a log writer of type file needs a path');
  return destination({ ...buffered, dest: writer.path, mkdir: true, append: true, mode: 0o600 });
}

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];

function lowestLevel(writers: readonly LogWriter[]): LogLevel | 'silent' {
  return LEVELS.find((level) => writers.some(({ minLevel }) => minLevel === level)) ?? 'silent';
}
