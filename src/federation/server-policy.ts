/**
 * Which other servers this one has to do with at all, both ways: globs of the configuration. Where there is an allow list,
 * only what it names; what the deny list names never.
 */
import { compileGlob, foldCase } from '../lib/glob.ts';
import { Lru } from '../lib/lru.ts';
import type { ServerName } from '../protocol/ids.ts';

export interface ServerPolicy {
  /** False for this server's own name: it never talks with itself. */
  admits(serverName: ServerName): boolean;
}

export interface ServerPolicyOptions {
  readonly serverName: ServerName;
  /** Globs of server names; empty for all. */
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

/** Answers that are remembered: some 100 bytes each. */
const MAX_REMEMBERED = 20_000;

export function createServerPolicy({ serverName: ownName, allow, deny }: ServerPolicyOptions): ServerPolicy {
  const allowed = allow.map((pattern) => compileGlob(foldCase(pattern)));
  const denied = deny.map((pattern) => compileGlob(foldCase(pattern)));
  const remembered = new Lru<string, boolean>({ maxCost: MAX_REMEMBERED });
  const decide = (name: string): boolean => {
    // Globs name hosts; a port does not make another server of it.
    const names = [name, name.replace(/:\d+$/, '')];
    const matches = (globs: typeof allowed): boolean => globs.some((glob) => names.some(glob));
    return (allowed.length === 0 || matches(allowed)) && !matches(denied);
  };
  return {
    admits(serverName) {
      if (serverName === ownName) return false;
      const known = remembered.get(serverName);
      if (known !== undefined) return known;
      const isAdmitted = decide(foldCase(serverName));
      remembered.set(serverName, isAdmitted);
      return isAdmitted;
    },
  };
}
