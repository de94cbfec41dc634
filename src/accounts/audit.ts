/**
 * The audit log: who asked the admin API for what, when, from where, and what came of it. Bodies are kept without their
 * secrets. Requests of nobody are kept too, at a bounded rate, so that a flood of them cannot fill the disk.
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import { type AuditEntry, insertAuditEntry, listAuditEntries, type NewAuditEntry } from '../storage/audit-log.ts';
import type { Database } from '../storage/database.ts';

export interface AuditOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type AuditRecord = Omit<NewAuditEntry, 'at' | 'body'> & { readonly body: unknown };

export interface AuditLog {
  /** Never fails: what cannot be written goes to the server's log. */
  record(record: AuditRecord): Promise<void>;
  /** The newest first. */
  list(page: {
    readonly before: number;
    readonly limit: number;
    readonly actor: string | undefined;
  }): Promise<readonly AuditEntry[]>;
}

/** Attempts of nobody that are kept in a minute: enough to see what was tried. */
const MAX_ANONYMOUS_PER_MINUTE = 60;
const MINUTE_MS = 60_000;
/** Characters; a PDU may have more, and only its beginning is of interest here. */
const MAX_BODY_LENGTH = 2_000;
const MAX_USER_AGENT_LENGTH = 255;

export function createAuditLog({ database, clock, logger }: AuditOptions): AuditLog {
  let minute = Number.NEGATIVE_INFINITY;
  let anonymous = 0;
  const isOneTooMany = (): boolean => {
    const now = clock.monotonic();
    if (now - minute >= MINUTE_MS) {
      minute = now;
      anonymous = 0;
    }
    anonymous += 1;
    return anonymous > MAX_ANONYMOUS_PER_MINUTE;
  };
  return {
    async record({ body, ...record }) {
      if (record.actor === undefined && isOneTooMany()) return;
      const entry = {
        ...record,
        at: clock.now(),
        params: record.params.map(storable),
        body: body === undefined ? undefined : storable(withoutSecrets(body)).slice(0, MAX_BODY_LENGTH),
        userAgent: storable(record.userAgent).slice(0, MAX_USER_AGENT_LENGTH),
      };
      try {
        await insertAuditEntry(database, entry);
      } catch (cause) {
        logger.error({ cause, ...entry }, 'an entry of the audit log could not be written');
      }
    },
    list: (page) => listAuditEntries(database, page),
  };
}

/** PostgreSQL's text holds no NUL. */
function storable(text: string): string {
  return text.replaceAll('\0', '');
}

const SECRET = /password|token|secret/i;

/** JSON in which the values of telling keys are left out, whatever they are. */
function withoutSecrets(body: unknown): string {
  return JSON.stringify(body, (key, value) => (SECRET.test(key) && value !== null ? '[redacted]' : value));
}
