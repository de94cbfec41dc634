/**
 * How every connection to PostgreSQL is made: one URL says where, and the answers arrive as the types that the code uses.
 * bigint becomes a number (every bigint we store is below 2^53), bytea a Buffer, json its value; the rest stays text or
 * number as PostgreSQL's driver decides.
 */
import { hostname } from 'node:os';
import pg from 'pg';
import type { Statement } from './sql.ts';

/** A database that does not answer within this time is down: better to say so than to queue behind it. */
const CONNECT_TIMEOUT_MS = 10_000;

const OID_BIGINT = 20;
const OID_BIGINT_ARRAY = 1016;

/** `{1,2,NULL}` as PostgreSQL writes a one-dimensional array of integers. */
function parseBigintArray(text: string): (number | null)[] {
  const inside = text.slice(1, -1);
  return inside === '' ? [] : inside.split(',').map((item) => (item === 'NULL' ? null : Number(item)));
}

const types: pg.CustomTypesConfig = {
  getTypeParser(oid: number, format?: 'text' | 'binary') {
    if (format !== 'binary' && oid === OID_BIGINT) return Number;
    if (format !== 'binary' && oid === OID_BIGINT_ARRAY) return parseBigintArray;
    return pg.types.getTypeParser(oid, format);
  },
};

/** The driver's options for a `postgresql://` URL; a unix socket's folder goes into `?host=`. */
export function clientOptions(url: string): pg.ClientConfig {
  return {
    connectionString: url,
    types,
    pipeline: true,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: `hammerhead ${hostname()}:${process.pid}`,
  };
}

/** Runs one statement on one connection, prepared under its name. */
export async function runStatement<Row>(client: pg.ClientBase, statement: Statement<Row>): Promise<readonly Row[]> {
  // The rows' shape is what the statement's author declared beside its text; a test prepares every one of them.
  const { name, text, values } = statement;
  const result = await client.query({ name, text, values: values as unknown[] });
  return result.rows as Row[];
}

/** PostgreSQL refused a statement and lives on. */
export function isStatementError(cause: unknown): boolean {
  return cause instanceof pg.DatabaseError && cause.severity === 'ERROR';
}

/** The connection is gone: the socket's errors carry a system call, and PostgreSQL's last words are FATAL. */
export function isConnectionError(cause: unknown): boolean {
  if (cause instanceof pg.DatabaseError) return cause.severity === 'FATAL' || cause.severity === 'PANIC';
  return cause instanceof Error && ('syscall' in cause || 'code' in cause);
}

/** Opens one connection, hands it over, and closes it again. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(clientOptions(url));
  // Without a listener a lost connection would end the process; the statement that waits for it hears of it anyway.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
