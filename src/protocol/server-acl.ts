/**
 * Server access control lists: which servers may take part in a room. Applied where servers talk to each other, never to
 * events in the room's graph.
 *
 * Invariant: whatever a room's `m.room.server_acl` holds, nothing here throws, and a list costs what its 64 KiB can hold
 * once per server name, since answers are remembered.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl
 */
import { compileGlob, foldCase, type GlobMatcher } from '../lib/glob.ts';
import { Lru } from '../lib/lru.ts';
import { isServerName, MAX_ID_BYTES } from './ids.ts';
import { isJsonArray } from './json-value.ts';
import type { JsonObject, JsonValue } from './pdu.ts';

/** One room's list, compiled; worth keeping as long as its state event is current. */
export interface ServerAcl {
  /** Whether a server of this name, with or without port, may take part. */
  isAllowed(serverName: string): boolean;
}

/** Names whose answers a list remembers: more servers than but the largest rooms have, at some 100 bytes each. */
const MAX_REMEMBERED_NAMES = 2_000;

/** Whether the room whose list has this content lets the server take part; every server, where it has no list. */
export function isServerAllowed(serverName: string, content: JsonObject | undefined): boolean {
  return compileServerAcl(content).isAllowed(serverName);
}

/** Compiles the content of a room's `m.room.server_acl`, or the absence of one, for many questions. */
export function compileServerAcl(content: JsonObject | undefined): ServerAcl {
  if (content === undefined) return { isAllowed: () => true };
  const allowsIpLiterals = content['allow_ip_literals'] !== false;
  const isDenied = compilePatterns(content['deny']);
  const isListed = compilePatterns(content['allow']);
  const remembered = new Lru<string, boolean>({ maxCost: MAX_REMEMBERED_NAMES });
  const decide = (host: string): boolean =>
    (allowsIpLiterals || !isIpLiteral(host)) && !isDenied(host) && isListed(host);
  return {
    isAllowed(serverName) {
      // What is no server name cannot be judged, and nobody authenticates as it.
      if (!isServerName(serverName)) return false;
      const host = foldCase(withoutPort(serverName));
      const known = remembered.get(host);
      if (known !== undefined) return known;
      const isAllowed = decide(host);
      remembered.set(host, isAllowed);
      return isAllowed;
    },
  };
}

/** One predicate over folded hosts for a whole list; what is no list, or no string in it, matches nothing. */
function compilePatterns(list: JsonValue | undefined): GlobMatcher {
  if (!isJsonArray(list)) return () => false;
  const patterns = new Set(list.filter((pattern) => typeof pattern === 'string').map(foldCase));
  const literals = new Set<string>();
  const globs: GlobMatcher[] = [];
  for (const pattern of patterns) {
    if (!/[*?]/.test(pattern)) literals.add(pattern);
    else if (canMatchHost(pattern)) globs.push(compileGlob(pattern));
  }
  return (host) => literals.has(host) || globs.some((matches) => matches(host));
}

/** Patterns that are too long or have characters that no host has are dropped, so that no list makes us run them. */
function canMatchHost(pattern: string): boolean {
  return /^[a-z0-9.\-:[\]*?]+$/.test(pattern) && pattern.replaceAll('*', '').length <= MAX_ID_BYTES;
}

function withoutPort(serverName: string): string {
  const end = serverName.indexOf(':', serverName.lastIndexOf(']') + 1);
  return end === -1 ? serverName : serverName.slice(0, end);
}

/** By the grammar of server names: a bracketed IPv6 address, or four decimal numbers, which no DNS name can be. */
function isIpLiteral(host: string): boolean {
  return host.startsWith('[') || /^\d{1,3}(?:\.\d{1,3}){3}$/.test(host);
}
