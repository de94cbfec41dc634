/**
 * The kinds of values that a configuration key can have: how each is read from YAML, what is said when it can't be, and
 * how it looks in JSON Schema.
 */
import { isIP, isIPv6 } from 'node:net';
import { resolve } from 'node:path';

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface ReadContext {
  /** The folder that relative paths start from: the configuration file's. */
  readonly folder: string;
}

export interface ValueType<T> {
  /** Completes "expected ...". */
  readonly expected: string;
  readonly schema: JsonSchema;
  /** Undefined when `raw` is not of this kind. */
  parse(raw: unknown, context: ReadContext): T | undefined;
}

export const boolean: ValueType<boolean> = {
  expected: 'true or false',
  schema: { type: 'boolean' },
  parse: (raw) => (typeof raw === 'boolean' ? raw : undefined),
};

/** A path; relative ones start from the configuration file's folder. */
export const path: ValueType<string> = {
  expected: 'a path',
  schema: { type: 'string', minLength: 1 },
  parse: (raw, { folder }) => (typeof raw === 'string' && raw !== '' ? resolve(folder, raw) : undefined),
};

export function integer(minimum: number, maximum: number): ValueType<number> {
  const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
  return {
    expected: `a whole number ${range}`,
    schema: { type: 'integer', minimum, maximum },
    parse: (raw) => (Number.isSafeInteger(raw) && isWithin(raw, minimum, maximum) ? raw : undefined),
  };
}

export function decimal(minimum: number, maximum: number): ValueType<number> {
  return {
    expected: `a number from ${minimum} to ${maximum}`,
    schema: { type: 'number', minimum, maximum },
    parse: (raw) => (Number.isFinite(raw) && isWithin(raw, minimum, maximum) ? raw : undefined),
  };
}

export const port = integer(0, 65_535);

export function oneOf<const T extends string>(...choices: readonly T[]): ValueType<T> {
  return {
    expected: `one of ${choices.join(', ')}`,
    schema: { enum: choices },
    parse: (raw) => choices.find((choice) => choice === raw),
  };
}

const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const SIZE_UNITS = { B: 1, KB: 1_000, MB: 1_000_000, GB: 1_000_000_000, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** `90s`, `5m`, `1h`; 0 where it means "never". In milliseconds. */
export const duration = withUnit('a duration like 30s, 5m or 1h', DURATION_UNITS);

/** `512KB`, `50MB`, `1GiB`. In bytes. */
export const size = withUnit('a size like 500KB, 50MB or 1GB', SIZE_UNITS);

function withUnit(expected: string, units: Readonly<Record<string, number>>): ValueType<number> {
  const pattern = new RegExp(`^(\\d+(?:\\.\\d+)?)\\s*(${Object.keys(units).join('|')})$`);
  return {
    expected,
    schema: { anyOf: [{ type: 'string', pattern: pattern.source }, { const: 0 }] },
    parse(raw) {
      if (raw === 0) return 0;
      const match = typeof raw === 'string' ? pattern.exec(raw) : null;
      return match === null ? undefined : Math.round(Number(match[1]) * (units[match[2] ?? ''] ?? 0));
    },
  };
}

export const ipAddress: ValueType<string> = {
  expected: 'an IP address',
  schema: { type: 'string', anyOf: [{ format: 'ipv4' }, { format: 'ipv6' }] },
  parse: (raw) => (typeof raw === 'string' && isIP(raw) !== 0 ? raw : undefined),
};

/** An IP address, or a network like 10.0.0.0/8. */
export const network: ValueType<string> = {
  expected: 'an IP address or a network like 10.0.0.0/8',
  schema: { type: 'string' },
  parse: (raw) => (typeof raw === 'string' && isNetwork(raw) ? raw : undefined),
};

export function url(protocols: readonly string[]): ValueType<string> {
  const expected = `a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;
  return {
    expected,
    schema: { type: 'string', format: 'uri' },
    parse: (raw) =>
      typeof raw === 'string' && protocols.some((protocol) => raw.startsWith(`${protocol}//`)) && URL.canParse(raw)
        ? raw
        : undefined,
  };
}

/** A list of values of one kind. */
export function listOf<T>(item: ValueType<T>): ValueType<readonly T[]> {
  return {
    expected: `a list, each of it ${item.expected}`,
    schema: { type: 'array', items: item.schema },
    parse(raw, context) {
      if (!Array.isArray(raw)) return undefined;
      const values = raw.map((entry) => item.parse(entry, context)).filter((value) => value !== undefined);
      return values.length === raw.length ? values : undefined;
    },
  };
}

/** A text of its own grammar. */
export function textMatching(expected: string, isValid: (text: string) => boolean): ValueType<string> {
  return {
    expected,
    schema: { type: 'string' },
    parse: (raw) => (typeof raw === 'string' && isValid(raw) ? raw : undefined),
  };
}

/** A host name with `*` and `?`. */
export const hostGlob = textMatching('a host name, with * for any characters', (text) =>
  /^[0-9A-Za-z.*?-]{1,255}$/.test(text),
);

/** A server name with `*` and `?`, and maybe a port. */
export const serverGlob = textMatching('a server name, with * for any characters', (text) =>
  /^[0-9A-Za-z.*?:[\]-]{1,255}$/.test(text),
);

/** Longer names would not fit into a user id of 255 bytes with a localpart and its signs. */
const MAX_SERVER_NAME_LENGTH = 230;

/** https://spec.matrix.org/v1.19/appendices/#server-name */
export const serverName = textMatching('a server name like example.org or example.org:8448', (name) => {
  const match = /^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::(\d{1,5}))?$/.exec(name);
  if (match === null || name.length > MAX_SERVER_NAME_LENGTH) return false;
  const host = match[1] ?? '';
  return (!host.startsWith('[') || isIPv6(host.slice(1, -1))) && Number(match[2] ?? 1) <= 65_535;
});

function isWithin(raw: unknown, minimum: number, maximum: number): raw is number {
  return typeof raw === 'number' && raw >= minimum && raw <= maximum;
}

function isNetwork(entry: string): boolean {
  const [address = '', prefix, ...rest] = entry.split('/');
  if (isIP(address) === 0 || rest.length > 0) return false;
  if (prefix === undefined) return true;
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN;
  return bits <= (isIPv6(address) ? 128 : 32);
}
