/**
 * Where other servers find this one: the steps by which they resolve `server_name`, taken from this machine, whether it
 * is this server that answers there, by its signing key; and what clients are told. What can't be reached from here may
 * be reachable from elsewhere, so that alone is no failure.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
 */

import { isIP } from 'node:net';
import type { Config } from '../../config/load.ts';
import { parseJsonText } from '../../lib/parse-json.ts';
import { type Finding, fail, messageOf, ok, warn } from './finding.ts';
import { hostOf } from './listeners.ts';
import type { Network } from './network.ts';

const DEFAULT_PORT = 8448;
const CHECK = 'delegation';

type Names = Pick<Config, 'serverName' | 'wellKnown'>;

/** `ownKey` is undefined where the server was not started yet. */
export async function checkDelegation(
  config: Names,
  network: Network,
  ownKey: OwnKey | undefined,
): Promise<readonly Finding[]> {
  const { serverName } = config;
  const host = hostOf(serverName);
  if (host === 'localhost' || host.endsWith('.localhost')) {
    return [
      warn(
        CHECK,
        `server_name is ${serverName}: only this machine knows it`,
        'fine for a trial; before others join, set a domain of yours. It can never be changed once there is data',
      ),
    ];
  }
  const server = await findServer(config, network);
  const client = await checkClientWellKnown(config, network);
  const findings = [...server.findings, ...client];
  if (server.target === undefined) return findings;
  const reachable = await checkReachable(server.target, network);
  if (reachable.level === 'warn' || ownKey === undefined) return [...findings, reachable];
  return [...findings, reachable, await checkKeys({ serverName, ownKey, target: server.target }, network)];
}

export interface OwnKey {
  readonly keyId: string;
  readonly publicKey: string;
}

interface Target {
  readonly host: string;
  readonly port: number;
  /** What its certificate has to be for. */
  readonly name: string;
  readonly hostHeader: string;
}

interface Found {
  readonly findings: readonly Finding[];
  readonly target: Target | undefined;
}

async function findServer({ serverName, wellKnown }: Names, network: Network): Promise<Found> {
  // Steps 1 and 2: an IP address, or a port in the name.
  if (isIP(hostOf(serverName)) !== 0 || portOf(serverName) !== undefined) return resolveTarget(serverName, network);
  // Step 3: the well-known file.
  const answer = await network.fetchText(`https://${serverName}/.well-known/matrix/server`).catch(() => undefined);
  const delegated = answer?.status === 200 ? readField(answer.text, 'm.server') : undefined;
  if (answer?.status === 200 && delegated === undefined) {
    const remedy =
      'let it be {"m.server": "HOST:PORT"}, or let that path be 404; set well_known.server to have the server answer it';
    const problem = fail(CHECK, `https://${serverName}/.well-known/matrix/server names no server`, remedy);
    return { findings: [problem], target: undefined };
  }
  if (delegated !== undefined) {
    const found = await resolveTarget(delegated, network);
    return { ...found, findings: [compareServer(delegated, wellKnown.server), ...found.findings] };
  }
  const missing = wellKnown.server === undefined ? [] : [notServed(serverName, 'server')];
  const found = await resolveTarget(serverName, network);
  return { ...found, findings: [...missing, ...found.findings] };
}

function compareServer(delegated: string, configured: string | undefined): Finding {
  if (configured === undefined || configured === delegated) return ok(CHECK, `the well-known file names ${delegated}`);
  return warn(
    CHECK,
    `the well-known file names ${delegated}, and well_known.server is ${configured}`,
    'let the proxy pass /.well-known/matrix/ to this server, or set well_known.server to what it serves',
  );
}

function notServed(serverName: string, kind: 'server' | 'client'): Finding {
  return warn(
    CHECK,
    `https://${serverName}/.well-known/matrix/${kind} does not answer, though well_known.${kind} is set`,
    `let whatever serves https://${serverName} pass /.well-known/matrix/ to this server`,
  );
}

/** Steps 3.1 to 3.5 and 4 to 6: a port, else SRV records (the new name, then the old one), else port 8448. */
async function resolveTarget(name: string, network: Network): Promise<Found> {
  const host = hostOf(name);
  const port = portOf(name);
  if (port !== undefined || isIP(host) !== 0)
    return resolveAddress({ host, port: port ?? DEFAULT_PORT, name: host, hostHeader: name }, network);
  for (const service of ['_matrix-fed', '_matrix']) {
    const [record] = await network.resolveSrv(`${service}._tcp.${host}`).catch(() => []);
    if (record === undefined) continue;
    const found = await resolveAddress({ host: record.name, port: record.port, name: host, hostHeader: name }, network);
    const old = service === '_matrix' ? [oldService(host)] : [];
    return {
      ...found,
      findings: [
        ok('dns', `SRV ${service}._tcp.${host} names ${record.name}:${record.port}`),
        ...old,
        ...found.findings,
      ],
    };
  }
  return resolveAddress({ host, port: DEFAULT_PORT, name: host, hostHeader: name }, network);
}

function oldService(host: string): Finding {
  return warn('dns', `the SRV record _matrix._tcp.${host} is of a deprecated kind`, `name it _matrix-fed._tcp.${host}`);
}

async function resolveAddress(target: Target, network: Network): Promise<Found> {
  const { host } = target;
  if (isIP(host) !== 0) return { findings: [], target };
  try {
    const addresses = await network.resolveAddresses(host);
    return { findings: [ok('dns', `${host} is ${addresses.join(', ')}`)], target };
  } catch (cause) {
    const problem = fail(
      'dns',
      `${host} has no address: ${messageOf(cause)}`,
      `make an A or AAAA record for ${host}, or correct the name`,
    );
    return { findings: [problem], target: undefined };
  }
}

async function checkReachable({ host, port, name }: Target, network: Network): Promise<Finding> {
  const place = `${host}:${port}`;
  try {
    const problem = await network.tryTls({ host, port, name });
    if (problem === undefined) return ok(CHECK, `${place} answers with a certificate for ${name}`);
    return fail(
      CHECK,
      `other servers will not trust ${place}: ${problem}`,
      `let it show a certificate for ${name} from a public authority`,
    );
  } catch (cause) {
    return warn(
      CHECK,
      `${place} can't be reached from here: ${messageOf(cause)}`,
      'open the port in the firewall, and start the proxy; some networks only hide it from the inside',
    );
  }
}

interface KeysWanted {
  readonly serverName: string;
  readonly ownKey: OwnKey;
  readonly target: Target;
}

/** Whoever answers there with another key is believed to be this server, and what this one signs is not. */
async function checkKeys({ serverName, ownKey, target }: KeysWanted, network: Network): Promise<Finding> {
  const place = `${target.host}:${target.port}`;
  const { keyId, publicKey } = ownKey;
  const text = await network.fetchKeys(target).catch((cause: unknown) => cause);
  if (typeof text !== 'string') {
    return fail(
      CHECK,
      `${place} shows no signing keys: ${messageOf(text)}`,
      'start the server, and let the proxy pass /_matrix/ to it',
    );
  }
  const named = readField(text, 'server_name');
  const shown = readField(text, 'verify_keys', keyId, 'key');
  if (named === serverName && shown === publicKey) return ok(CHECK, `${place} shows the signing key of this server`);
  const found = named === serverName ? `not the key ${keyId} of this server` : `keys of ${named ?? 'no server'}`;
  return fail(
    CHECK,
    `${place} shows ${found}`,
    'another server answers there: correct the proxy, DNS or the well-known file; two servers must not share a name',
  );
}

async function checkClientWellKnown({ serverName, wellKnown }: Names, network: Network): Promise<readonly Finding[]> {
  if (wellKnown.client === undefined) return [];
  const url = `https://${serverName}/.well-known/matrix/client`;
  const answer = await network.fetchText(url).catch(() => undefined);
  if (answer?.status !== 200) return [notServed(serverName, 'client')];
  const found = readField(answer.text, 'm.homeserver', 'base_url');
  if (found?.replace(/\/$/, '') === wellKnown.client.replace(/\/$/, ''))
    return [ok(CHECK, `clients are sent to ${found}`)];
  return [
    warn(
      CHECK,
      `${url} sends clients to ${found ?? 'nowhere'}, and well_known.client is ${wellKnown.client}`,
      'let the proxy pass /.well-known/matrix/ to this server, or set well_known.client to what it serves',
    ),
  ];
}

function portOf(serverName: string): number | undefined {
  const port = /:(\d{1,5})$/.exec(serverName)?.[1];
  // An IPv6 address has colons of its own, and stands in brackets.
  return port === undefined || isIP(serverName) === 6 ? undefined : Number(port);
}

function readField(text: string, ...path: readonly string[]): string | undefined {
  try {
    let value: unknown = parseJsonText(text);
    for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined;
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
