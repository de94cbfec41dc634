/**
 * From a server name to where it is reached: literal addresses and explicit ports as they are, else what the host's
 * well-known delegates to, SRV records, and port 8448 at last. The name that the certificate has to prove is the one that
 * was delegated to, never what an SRV record says.
 *
 * Names are looked up, and their addresses judged, when a connection is opened (transport.ts).
 *
 * https://spec.matrix.org/v1.19/server-server-api/#resolving-server-names
 */
import type { SrvRecord } from 'node:dns';
import { Resolver as DnsResolver } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import type { ServerName } from '../protocol/ids.ts';
import { isFinal } from './federation-error.ts';
import type { Target } from './transport.ts';
import type { WellKnown } from './well-known.ts';

export type ResolveSrv = (name: string) => Promise<readonly SrvRecord[]>;

export interface Resolver {
  /** Where to try, in this order; never empty. Throws a `FederationError` where the name can lead nowhere. */
  resolve(serverName: ServerName): Promise<readonly Target[]>;
}

export interface ResolverOptions {
  readonly wellKnown: WellKnown;
  readonly clock: Clock;
  readonly resolveSrv?: ResolveSrv | undefined;
}

export const DEFAULT_PORT = 8448;
const MAX_PORT = 65_535;
/** More alternatives than any setup has; each costs a connection's time-out. */
const MAX_TARGETS = 4;
/** DNS does not tell us how long SRV records hold; this is what their owners usually set. */
const SRV_CACHE_MS = 5 * 60_000;
const MAX_CACHED = 20_000;
/** Both kinds of SRV records are asked for, one after the other: a silent name server costs this much twice. */
const DNS_OPTIONS = { timeout: 2_000, tries: 2 } as const;

export function createResolver(options: ResolverOptions): Resolver {
  const { wellKnown, clock } = options;
  const srv = createSrvCache(options.resolveSrv ?? createSrvLookup(), clock);

  async function resolveName(name: ParsedName): Promise<readonly Target[]> {
    const { host, port, hostHeader } = name;
    if (name.isAddress || port !== undefined) return [{ host, port: port ?? DEFAULT_PORT, hostHeader }];
    const found = await srv.load(host);
    return found.length > 0
      ? found.map((target) => ({ ...target, hostHeader: host }))
      : [{ host, port: DEFAULT_PORT, hostHeader: host }];
  }

  return {
    async resolve(serverName) {
      const name = parseName(serverName);
      // Steps 1 and 2: the name says it all.
      if (name.isAddress || name.port !== undefined) return resolveName(name);
      const delegated = await wellKnown.load(name.host);
      // Step 3, or steps 4 to 6 with the name itself.
      return resolveName(delegated === undefined ? name : parseName(delegated));
    },
  };
}

interface ParsedName {
  /** Without brackets. */
  readonly host: string;
  readonly port: number | undefined;
  readonly isAddress: boolean;
  /** As it stands in the Host header: with brackets, and with the port where one was given. */
  readonly hostHeader: string;
}

function parseName(serverName: ServerName): ParsedName {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(serverName);
  const written = match?.[1] ?? '';
  const host = (written.startsWith('[') ? written.slice(1, -1) : written).toLowerCase();
  const port = match?.[2] === undefined ? undefined : Number(match[2]);
  if (port === 0 || host === '' || (written.startsWith('[') && !isIPv6(host))) {
    throw isFinal('unresolved', 'the server name leads nowhere');
  }
  return { host, port, isAddress: isIP(host) !== 0, hostHeader: serverName };
}

interface SrvTarget {
  readonly host: string;
  readonly port: number;
}

interface CachedSrv {
  readonly targets: readonly SrvTarget[];
  readonly until: number;
}

/** `_matrix-fed._tcp`, or else the deprecated `_matrix._tcp`; having neither is remembered too. */
function createSrvCache(resolveSrv: ResolveSrv, clock: Clock): { load(host: string): Promise<readonly SrvTarget[]> } {
  const cache = new Lru<string, CachedSrv>({ maxCost: MAX_CACHED });
  const running = new Map<string, Promise<readonly SrvTarget[]>>();
  const refresh = async (host: string): Promise<readonly SrvTarget[]> => {
    let targets = await lookUp(resolveSrv, `_matrix-fed._tcp.${host}`);
    if (targets.length === 0) targets = await lookUp(resolveSrv, `_matrix._tcp.${host}`);
    cache.set(host, { targets, until: clock.monotonic() + SRV_CACHE_MS });
    return targets;
  };
  return {
    async load(host) {
      const known = cache.get(host);
      if (known !== undefined && known.until > clock.monotonic()) return known.targets;
      let refreshing = running.get(host);
      if (refreshing === undefined) {
        refreshing = refresh(host).finally(() => running.delete(host));
        running.set(host, refreshing);
      }
      return refreshing;
    },
  };
}

async function lookUp(resolveSrv: ResolveSrv, name: string): Promise<readonly SrvTarget[]> {
  const records = await resolveSrv(name).catch((cause: unknown) => {
    // No record, or a name server that fails: both lead on to the next step.
    if (cause instanceof Error && 'code' in cause) return [];
    throw cause;
  });
  return sortRecords(records)
    .flatMap(({ name: target, port }) => toTarget(target, port))
    .slice(0, MAX_TARGETS);
}

/** By priority; among equals the heavier first, so that an ordinary failover works as its owner meant it. */
function sortRecords(records: readonly SrvRecord[]): readonly SrvRecord[] {
  return [...records].sort((a, b) => a.priority - b.priority || b.weight - a.weight);
}

/** A record's target is a host name; one of `.` says that the service is not there. */
function toTarget(name: string, port: number): readonly SrvTarget[] {
  const host = name.replace(/\.$/, '').toLowerCase();
  const isName = /^[a-z0-9_](?:[a-z0-9._-]{0,253}[a-z0-9_])?$/.test(host) && isIP(host) === 0;
  return isName && Number.isInteger(port) && port > 0 && port <= MAX_PORT ? [{ host, port }] : [];
}

function createSrvLookup(): ResolveSrv {
  const dns = new DnsResolver(DNS_OPTIONS);
  return (name) => dns.resolveSrv(name);
}
