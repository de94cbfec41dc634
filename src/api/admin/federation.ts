/**
 * How it stands with other servers: to whom something is owed and why, another attempt at once, and where a server is found.
 */
import { Type } from 'typebox';
import { MatrixError } from '../../protocol/errors.ts';
import { parseServerName, type ServerName } from '../../protocol/ids.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, readLimit } from './admin-endpoint.ts';

export interface AdminDestination {
  readonly serverName: ServerName;
  readonly failures: number;
  readonly failingSince: number | undefined;
  readonly retryAt: number | undefined;
  readonly lastError: string | undefined;
  readonly lastSuccessAt: number | undefined;
  /** Positions of the stream that it is behind; undefined where nothing is owed. */
  readonly lag: number | undefined;
}

export interface AdminTarget {
  readonly host: string;
  readonly port: number;
  readonly hostHeader: string;
}

export interface AdminFederation {
  /** By name, those after the given one. */
  list(page: {
    readonly after: string;
    readonly limit: number;
    readonly onlyFailing: boolean;
  }): Promise<readonly AdminDestination[]>;
  /** Tries the server at once; says whether anything waits for it. */
  retry(serverName: ServerName): boolean;
  /** Throws a `MatrixError` for a name that leads nowhere. */
  resolve(serverName: ServerName): Promise<readonly AdminTarget[]>;
}

const Destination = Type.Object({
  server_name: Type.String(),
  failures: Type.Integer(),
  failing_since: Type.Optional(Type.Integer()),
  retry_at: Type.Optional(Type.Integer()),
  last_error: Type.Optional(Type.String()),
  last_success_at: Type.Optional(Type.Integer()),
  lag: Type.Optional(Type.Integer()),
});
const Target = Type.Object({ host: Type.String(), port: Type.Integer(), host_header: Type.String() });

export function adminFederationEndpoints(federation: AdminFederation): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/federation/destinations',
      auth: 'admin',
      query: Type.Object({
        since: Type.Optional(Type.String()),
        limit: Type.Optional(Type.String()),
        failing: Type.Optional(Type.Boolean()),
      }),
      doc: {
        summary: 'List Destinations',
        answers: { 200: Type.Object({ chunk: Type.Array(Destination), next_batch: Type.Optional(Type.String()) }) },
      },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const page = { after: query.since ?? '', limit, onlyFailing: query.failing ?? false };
        const found = await federation.list(page);
        const last = found.at(-1);
        return {
          chunk: found.map(toEntry),
          ...(found.length === limit && last !== undefined && { next_batch: last.serverName }),
        };
      },
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: '/_hammerhead/v0/admin/federation/destinations/{server_name}/retry',
      auth: 'admin',
      doc: { summary: 'Retry Destination', answers: { 200: Type.Object({ waiting: Type.Boolean() }) } },
      handle: ({ params }) => ({ waiting: federation.retry(readServerName(params.server_name)) }),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/federation/resolve/{server_name}',
      auth: 'admin',
      doc: { summary: 'Resolve Server Name', answers: { 200: Type.Object({ targets: Type.Array(Target) }) } },
      async handle({ params }) {
        const targets = await federation.resolve(readServerName(params.server_name));
        return { targets: targets.map(({ host, port, hostHeader }) => ({ host, port, host_header: hostHeader })) };
      },
    }),
  ];
}

function readServerName(text: string): ServerName {
  const serverName = parseServerName(text);
  if (serverName === undefined) throw new MatrixError('M_INVALID_PARAM', 'server_name is no server name');
  return serverName;
}

function toEntry(destination: AdminDestination) {
  return {
    server_name: destination.serverName,
    failures: destination.failures,
    failing_since: destination.failingSince,
    retry_at: destination.retryAt,
    last_error: destination.lastError,
    last_success_at: destination.lastSuccessAt,
    lag: destination.lag,
  };
}
