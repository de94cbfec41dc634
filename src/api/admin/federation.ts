/**
 * How it stands with other servers: to whom something is owed and why, another attempt at once, where a server is
 * found, and its signing keys.
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

export interface AdminServerKey {
  readonly keyId: string;
  readonly publicKey: string;
  /** Unix milliseconds. */
  readonly validUntil: number;
  readonly expiredAt: number | undefined;
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
  /** Throws a `MatrixError` where none is known. */
  loadKeys(serverName: ServerName): Promise<readonly AdminServerKey[]>;
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
const ServerKey = Type.Object({
  key_id: Type.String(),
  public_key: Type.String(),
  valid_until: Type.Optional(Type.Integer()),
  expired_at: Type.Optional(Type.Integer()),
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
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/federation/keys/{server_name}',
      auth: 'admin',
      doc: { summary: 'Show Signing Keys', answers: { 200: Type.Object({ keys: Type.Array(ServerKey) }) } },
      async handle({ params }) {
        const keys = await federation.loadKeys(readServerName(params.server_name));
        return { keys: keys.map(toKey) };
      },
    }),
  ];
}

function readServerName(text: string): ServerName {
  const serverName = parseServerName(text);
  if (serverName === undefined) throw new MatrixError('M_INVALID_PARAM', 'server_name is no server name');
  return serverName;
}

/** A key that expired is valid for what it signed before; our own are valid while we say so. */
function toKey({ keyId, publicKey, validUntil, expiredAt }: AdminServerKey) {
  const isBounded = expiredAt === undefined && Number.isSafeInteger(validUntil);
  return {
    key_id: keyId,
    public_key: publicKey,
    ...(isBounded && validUntil < Number.MAX_SAFE_INTEGER && { valid_until: validUntil }),
    ...(expiredAt !== undefined && { expired_at: expiredAt }),
  };
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
