/**
 * Requests to the admin API. An answer that is no success ends the command, with the exit code that says why.
 */

import type { Dispatcher } from 'undici';
import { parseJsonText } from '../../lib/parse-json.ts';
import { EXIT, type ExitCode, ExitError } from '../exit-codes.ts';
import type { Connection } from './connection.ts';

export type JsonRecord = Readonly<Record<string, unknown>>;

export interface Call {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  /** Left out where undefined. */
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
}

/** No error: 2xx, or a 304 that says that nothing had to be done. */
export interface Success {
  readonly status: number;
  /** Empty where there is no body. */
  readonly json: JsonRecord;
}

export interface RawAnswer {
  readonly status: number;
  readonly text: string;
}

export interface AdminClient {
  /** The answer's JSON object. */
  call(call: Call): Promise<JsonRecord>;
  callOrThrow(call: Call): Promise<Success>;
  /** Whatever was answered, and `body` as it is. */
  callRaw(method: Call['method'], path: string, body: string | undefined): Promise<RawAnswer>;
}

export function createAdminClient(connection: Connection): AdminClient {
  const callRaw: AdminClient['callRaw'] = (method, path, body) => send(connection, { method, path, body });
  const callOrThrow: AdminClient['callOrThrow'] = async ({ method, path, query = {}, body }) => {
    const given = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, `${value}`]]));
    const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
    const { status, text } = await callRaw(
      method,
      path + search,
      body === undefined ? undefined : JSON.stringify(body),
    );
    const json = readJson(text);
    if (status >= 400) throw new ExitError(exitCodeOf(status), explain(status, json, connection));
    return { status, json };
  };
  return { callRaw, callOrThrow, call: async (call) => (await callOrThrow(call)).json };
}

/** What an error status means for who called. */
export function exitCodeOf(status: number): ExitCode {
  return status === 401 || status === 403 ? EXIT.forbidden : EXIT.failed;
}

interface Sent {
  readonly method: Call['method'];
  readonly path: string;
  readonly body: string | undefined;
}

async function send(connection: Connection, { method, path, body }: Sent): Promise<RawAnswer> {
  const { origin, token } = connection;
  const { request } = await import('undici');
  const dispatcher = await createDispatcher(connection);
  try {
    const answer = await request(new URL(path, origin), {
      method,
      dispatcher,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body ?? null,
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  } catch (cause) {
    const where = connection.socketPath ?? origin;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ExitError(EXIT.unreachable, `no server answers at ${where} (${reason})`, { cause });
  } finally {
    await dispatcher.close();
  }
}

async function createDispatcher({ socketPath, certificate }: Connection): Promise<Dispatcher> {
  const { Agent } = await import('undici');
  return new Agent({
    // Deleting a room or an account is answered when it is done, which may take hours.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      ...(socketPath !== undefined && { socketPath }),
      ...(certificate !== undefined && {
        ca: certificate,
        allowPartialTrustChain: true,
        checkServerIdentity: () => undefined,
      }),
    },
  });
}

function readJson(text: string): JsonRecord {
  try {
    const json: unknown = parseJsonText(text);
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? { ...json } : {};
  } catch {
    return {};
  }
}

function explain(status: number, { errcode, error }: JsonRecord, { token }: Connection): string {
  const said = [errcode, error].filter((part) => typeof part === 'string').join(': ');
  const hint =
    exitCodeOf(status) !== EXIT.forbidden
      ? ''
      : token === undefined
        ? '. Say --token (or set HAMMERHEAD_TOKEN) with the access token of an administrator'
        : '. This needs the access token of an administrator: --token or HAMMERHEAD_TOKEN';
  return `the server answered ${status}${said === '' ? '' : ` ${said}`}${hint}`;
}
