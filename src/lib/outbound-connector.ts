/**
 * Connections to places that somebody else named: straight there, or through the operator's HTTP proxy by CONNECT. Either
 * way the network policy holds: names are looked up here, and it is the judged address that is connected to or asked of the
 * proxy. Only where the operator leaves names to the proxy is a name judged by nobody here.
 */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import { compileGlob, type GlobMatcher } from './glob.ts';
import {
  admitsHost,
  createGuardedLookup,
  createNetworkList,
  DeniedAddressError,
  type NetworkPolicy,
  type ResolveName,
  resolveBySystem,
} from './network-policy.ts';

export interface ProxySettings {
  /** `http:` or `https:`, without credentials. */
  readonly url: string;
  readonly username: string | undefined;
  readonly password: { reveal(): string } | undefined;
  /** Globs of host names that are connected to without it. */
  readonly bypassHosts: readonly string[];
  readonly bypassNetworks: readonly string[];
  /** Whether names are looked up here, and the proxy is asked for addresses. */
  readonly resolvesNames: boolean;
}

export interface OutboundOptions {
  readonly policy: NetworkPolicy;
  readonly timeoutMs: number;
  readonly resolveName?: ResolveName | undefined;
  readonly secureContext?: SecureContext | undefined;
  /** Undefined connects straight to everything. */
  readonly proxy?: ProxySettings | undefined;
}

/** The proxy did not open the way. */
export class ProxyError extends Error {
  readonly code: string;

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** Of one name's addresses; whoever has more is tried no further. */
const MAX_ADDRESSES = 4;

export function createOutboundConnector(options: OutboundOptions): buildConnector.connector {
  const { policy, proxy, timeoutMs, secureContext } = options;
  const connect = buildConnector({
    allowH2: false,
    timeout: timeoutMs,
    ...(secureContext !== undefined && { secureContext }),
    lookup: createGuardedLookup(policy, options.resolveName),
  });
  const tunnels = proxy === undefined ? undefined : createTunnels(proxy, options);
  return (target, callback) => {
    // Here every way of writing an address has become the address itself; names are judged when they are looked up.
    if (!admitsHost(policy, target.hostname)) {
      callback(new DeniedAddressError('this address may not be connected to'), null);
    } else if (tunnels === undefined) connect(target, callback);
    else {
      tunnels.open(target).then(
        (tunnel) => {
          if (tunnel === undefined) connect(target, callback);
          else if (target.protocol === 'https:') connect({ ...target, httpSocket: tunnel }, callback);
          else callback(null, tunnel);
        },
        (cause: Error) => callback(cause, null),
      );
    }
  };
}

interface Tunnels {
  /** Undefined where the target is connected to without the proxy. */
  open(target: Pick<buildConnector.Options, 'hostname' | 'port' | 'protocol'>): Promise<Socket | undefined>;
}

function createTunnels(proxy: ProxySettings, options: OutboundOptions): Tunnels {
  const bypassed = proxy.bypassHosts.map((glob) => compileGlob(glob, { caseInsensitive: true }));
  const networks = createNetworkList(proxy.bypassNetworks);
  const ask = createConnect(proxy, options);
  return {
    async open({ hostname, port, protocol }) {
      const host = unbracket(hostname);
      const targetPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port;
      if (bypassed.some((matches: GlobMatcher) => matches(host))) return undefined;
      const places = await listPlaces(host, proxy, options);
      if (places.some((place) => networks.has(place))) return undefined;
      return openFirst(places, (place) => ask(`${isIP(place) === 6 ? `[${place}]` : place}:${targetPort}`));
    },
  };
}

/** What the proxy may be asked for: allowed addresses, or the name where it is the one to look it up. */
async function listPlaces(
  host: string,
  { resolvesNames }: ProxySettings,
  { policy, resolveName = resolveBySystem }: OutboundOptions,
): Promise<readonly string[]> {
  if (isIP(host) !== 0 || !resolvesNames) return [host];
  const addresses = (await resolveName(host)).map(({ address }) => address);
  const admitted = addresses.filter((address) => policy.admits(address));
  if (admitted.length === 0) throw new DeniedAddressError('the name leads to no allowed address');
  return admitted.slice(0, MAX_ADDRESSES);
}

async function openFirst(places: readonly string[], open: (place: string) => Promise<Socket>): Promise<Socket> {
  let failure: unknown;
  for (const place of places) {
    try {
      return await open(place);
    } catch (cause) {
      failure = cause;
    }
  }
  throw failure;
}

/** https://www.rfc-editor.org/rfc/rfc9110#name-connect */
function createConnect(
  { url, username, password }: ProxySettings,
  { timeoutMs, secureContext }: OutboundOptions,
): (authority: string) => Promise<Socket> {
  const { protocol, hostname, port } = new URL(url);
  const request = protocol === 'https:' ? requestHttps : requestHttp;
  const credentials = `${username ?? ''}:${password?.reveal() ?? ''}`;
  const authorization: Record<string, string> =
    username === undefined && password === undefined
      ? {}
      : { 'proxy-authorization': `Basic ${Buffer.from(credentials).toString('base64')}` };
  return (authority) => {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const asking = request({
      host: unbracket(hostname),
      ...(port !== '' && { port: Number(port) }),
      method: 'CONNECT',
      path: authority,
      headers: { host: authority, ...authorization },
      agent: false,
      timeout: timeoutMs,
      ...(secureContext !== undefined && { secureContext }),
    });
    asking.on('connect', (answer, socket, head) => {
      const status = answer.statusCode ?? 0;
      if (status >= 200 && status < 300 && head.length === 0) {
        socket.setTimeout(0);
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(new ProxyError(`ERR_PROXY_${status}`, `the proxy answered ${status}`));
    });
    asking.on('response', (answer) => {
      answer.destroy();
      reject(new ProxyError(`ERR_PROXY_${answer.statusCode}`, `the proxy answered ${answer.statusCode}`));
    });
    asking.on('timeout', () => asking.destroy(new ProxyError('UND_ERR_CONNECT_TIMEOUT', 'the proxy took too long')));
    asking.on('error', (cause) =>
      reject(cause instanceof ProxyError ? cause : new ProxyError('ERR_PROXY', 'the proxy cannot be reached', cause)),
    );
    asking.end();
    return promise;
  };
}

function unbracket(hostname: string): string {
  return hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
}
