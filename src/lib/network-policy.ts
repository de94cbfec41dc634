/**
 * Where this server may connect to when somebody else names the target: not to itself and not into private networks, by
 * none of the ways in which IPv6 wraps an IPv4 address. Addresses are judged after DNS, and the judged ones are those
 * that get connected to, so a name that changes between two look-ups gains nothing.
 */
import type { LookupAddress } from 'node:dns';
import { lookup as lookupName } from 'node:dns/promises';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Addresses that are not of the public internet. */
const DENIED_NETWORKS = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  '::1/128',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/32',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
] as const;
/** IPv4 inside of IPv6, for IPv6 addresses only: the rule for mapped ones would match every plain IPv4 address. */
const WRAPPED_IPV4 = ['::ffff:0:0/96', '::/96'] as const;

export interface NetworkPolicy {
  /** Whether connecting to this IP address is allowed. */
  admits(address: string): boolean;
}

/** Networks that are `allowed` are so even where they are denied otherwise; throws where one is no network. */
export function createNetworkPolicy(options: {
  readonly allowed?: readonly string[];
  /** Beyond those that always are. */
  readonly denied?: readonly string[];
}): NetworkPolicy {
  const allowed = createList(options.allowed ?? []);
  const denied = createList([...DENIED_NETWORKS, ...(options.denied ?? [])]);
  const wrapped = createList(WRAPPED_IPV4);
  return {
    admits(address) {
      const version = isIP(address);
      if (version === 0) return false;
      const family = version === 6 ? 'ipv6' : 'ipv4';
      if (allowed.check(address, family)) return true;
      return !denied.check(address, family) && !(version === 6 && wrapped.check(address, family));
    },
  };
}

/** Nothing of a name's addresses is allowed. */
export class DeniedAddressError extends Error {}

export type ResolveName = (hostname: string) => Promise<readonly LookupAddress[]>;

export const resolveBySystem: ResolveName = (hostname) => lookupName(hostname, { all: true });

/**
 * A `lookup` for sockets that gives only addresses which the policy admits. Sockets do not ask it about addresses that
 * stand in the URL itself: check those with `admitsHost`.
 */
export function createGuardedLookup(policy: NetworkPolicy, resolve: ResolveName = resolveBySystem): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname).then(
      (addresses) => {
        const admitted = addresses.filter(({ address }) => policy.admits(address));
        const [first] = admitted;
        if (first === undefined) callback(new DeniedAddressError('the name leads to no allowed address'), '');
        else if (options.all === true) callback(null, admitted);
        else callback(null, first.address, first.family);
      },
      (cause: NodeJS.ErrnoException) => callback(cause, ''),
    );
  };
}

/** False for a URL's host that is an address which the policy denies; a name is judged when it is looked up. */
export function admitsHost(policy: NetworkPolicy, hostname: string): boolean {
  const address = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(address) === 0 || policy.admits(address);
}

/** Addresses that lie in any of the networks. */
export function createNetworkList(networks: readonly string[]): { has(address: string): boolean } {
  const list = createList(networks);
  return { has: (address) => isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4') };
}

function createList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    const version = isIP(address);
    if (version === 0) throw new Error(`not an IP address or network: ${network}`);
    list.addSubnet(address, Number(prefix ?? (version === 6 ? 128 : 32)), version === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}
