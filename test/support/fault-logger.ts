/** A logger that keeps faults: whatever others do to a server, it should have none. */
import type { Logger } from '../../src/lib/logger.ts';

const ignore = (): void => undefined;

/** What a server logs as its own fault goes into the list; everything else is left out. */
export function createFaultLogger(faults: string[]): Logger {
  const logger: Logger = {
    trace: ignore,
    debug: ignore,
    info: ignore,
    warn: ignore,
    error(fields, message) {
      const cause = fields['err'] ?? fields['cause'];
      faults.push(`${message}: ${cause instanceof Error ? cause.stack : JSON.stringify(fields)}`);
    },
    child: () => logger,
  };
  return logger;
}
