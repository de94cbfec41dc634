/**
 * Whose address a request counts for. X-Forwarded-For is believed only as far as trusted proxies wrote it: read from the
 * right, the first address that is no trusted proxy is the client. Without trusted proxies it is the socket's address.
 */
import { BlockList, isIP } from 'node:net';

export interface AddressSource {
  /** Undefined on a unix socket, whose other end is a proxy on this machine. */
  readonly socketAddress: string | undefined;
  readonly forwardedFor: string | undefined;
}

/** `trustedProxies` are addresses or CIDR ranges; throws when one is neither. */
export function createAddressReader(trustedProxies: readonly string[]): (source: AddressSource) => string {
  const trusted = new BlockList();
  for (const range of trustedProxies) addRange(trusted, range);
  const isTrusted = (address: string): boolean => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

  return ({ socketAddress, forwardedFor }) => {
    let client = socketAddress === undefined ? undefined : plainAddress(socketAddress);
    if (forwardedFor === undefined) return client ?? UNKNOWN_ADDRESS;
    for (const hop of forwardedFor.split(',').reverse()) {
      if (client !== undefined && !isTrusted(client)) return client;
      const address = plainAddress(hop.trim());
      // Whatever stands further left was written by somebody who writes nonsense.
      if (isIP(address) === 0) return client ?? UNKNOWN_ADDRESS;
      client = address;
    }
    return client ?? UNKNOWN_ADDRESS;
  };
}

const UNKNOWN_ADDRESS = 'unix';

/** Without the prefix of IPv4 addresses on an IPv6 socket. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address;
}

function addRange(list: BlockList, range: string): void {
  const [address = '', prefix] = range.split('/');
  const version = isIP(address);
  if (version === 0) throw new Error(`not an IP address or range: ${range}`);
  const family = version === 6 ? 'ipv6' : 'ipv4';
  if (prefix === undefined) list.addAddress(address, family);
  else list.addSubnet(address, Number(prefix), family);
}

/** What rate limits count: one IPv6 customer has a whole /64. */
export function rateLimitKey(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  if (tail !== undefined) {
    const after = tail === '' ? [] : tail.split(':');
    while (groups.length + after.length < 8) groups.push('0');
    groups.push(...after);
  }
  return `${groups.slice(0, 4).join(':')}::/64`;
}
