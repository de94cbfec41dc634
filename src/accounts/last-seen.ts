/**
 * When and from where devices were last seen: gathered in memory and written together now and then. Losing the last
 * minute in a crash does no harm.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { Database } from '../storage/database.ts';
import { type DeviceSighting, updateLastSeen } from '../storage/devices.ts';

export interface LastSeen extends AsyncDisposable {
  /** Notes a request of a device, to be written soon. */
  note(sighting: Omit<DeviceSighting, 'seenAt'>): void;
  flush(): Promise<void>;
}

const FLUSH_INTERVAL_MS = 15_000;
/** One statement stays small; more devices than that do not appear within the interval. */
const MAX_NOTED = 10_000;
const MAX_USER_AGENT_LENGTH = 255;

export function createLastSeen(options: {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
}): LastSeen {
  const { database, clock, logger } = options;
  const noted = new Map<string, DeviceSighting>();
  let timer: Disposable | undefined;

  const flush = async (): Promise<void> => {
    timer?.[Symbol.dispose]();
    timer = undefined;
    if (noted.size === 0) return;
    const sightings = [...noted.values()];
    noted.clear();
    await updateLastSeen(database, sightings);
  };
  const flushInBackground = (): void => {
    flush().catch((cause: unknown) => logger.warn({ err: cause }, 'could not record when devices were last seen'));
  };

  return {
    note(sighting) {
      if (noted.size >= MAX_NOTED) return;
      const userAgent = clean(sighting.userAgent);
      noted.set(`${sighting.accountId} ${sighting.deviceId}`, { ...sighting, userAgent, seenAt: clock.now() });
      timer ??= clock.after(FLUSH_INTERVAL_MS, flushInBackground);
    },
    flush,
    [Symbol.asyncDispose]: flush,
  };
}

/** Headers hold bytes of any kind; NUL can't be stored. */
function clean(userAgent: string): string {
  return userAgent.slice(0, MAX_USER_AGENT_LENGTH).replaceAll('\0', '');
}
