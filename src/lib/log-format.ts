/**
 * Log lines for people: `12:31:07.123 INFO  message field=value`, a stack trace indented below. Made from the JSON line
 * that pino wrote, so both formats always say the same.
 */
import { parseJsonText } from './parse-json.ts';

export interface LineTarget {
  write(line: string): unknown;
}

/** Turns each JSON line that it is given into a readable one. */
export function createPrettyStream(target: LineTarget): LineTarget {
  return { write: (line) => target.write(formatLine(line)) };
}

/** A line that is no JSON object passes as it is. */
export function formatLine(line: string): string {
  const entry = parseObject(line);
  if (entry === undefined) return line;
  const { level, time, msg, ...fields } = entry;
  const clock = typeof time === 'string' ? time.slice(11, 23) : '';
  const head = `${clock} ${String(level).toUpperCase().padEnd(5)} ${String(msg ?? '')}`;
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${formatValue(value)}`);
  const stacks = Object.values(fields)
    .map(findStack)
    .filter((stack) => stack !== undefined);
  return `${[head + rest.join(''), ...stacks.map((stack) => stack.replaceAll(/^/gm, '    '))].join('\n')}\n`;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = parseJsonText(line);
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined; // not ours: somebody wrote to the stream directly
  }
}

/** JSON quotes control characters, so that nothing a peer sent can forge a line or a terminal's escape sequence. */
function formatValue(value: unknown): string {
  if (typeof value === 'string' && /^[\w.:/@!#$+=~-]+$/.test(value)) return value;
  if (typeof value === 'object' && value !== null && 'stack' in value && 'message' in value) {
    return JSON.stringify(value.message);
  }
  return JSON.stringify(value) ?? 'undefined';
}

function findStack(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || !('stack' in value)) return undefined;
  return typeof value.stack === 'string' ? value.stack : undefined;
}
