/**
 * Statements: SQL text with its parameters, made by the `sql` tag. Each distinct text gets a stable name, so that
 * PostgreSQL parses and plans it once per connection. Arrays for `unnest` travel in PostgreSQL's binary format, which
 * costs a third of the text form (docs/adr/0003-postgresql-driver.md).
 */
import { hash } from 'node:crypto';

export interface Statement<Row> {
  readonly name: string;
  readonly text: string;
  readonly values: readonly Parameter[];
  /** Only there for the type: what a row of the answer looks like. */
  readonly row?: Row;
}

export type Parameter = string | number | boolean | null | Buffer;

const named = new WeakMap<TemplateStringsArray, { name: string; text: string }>();

/** `sql<Row>\`select ... where id = ${id}\``: every interpolation becomes a parameter, never text. */
export function sql<Row = never>(strings: TemplateStringsArray, ...values: readonly Parameter[]): Statement<Row> {
  let known = named.get(strings);
  if (known === undefined) {
    const text = strings.reduce((before, part, index) => `${before}$${index}${part}`);
    known = { name: `s${hash('sha256', text).slice(0, 24)}`, text };
    named.set(strings, known);
  }
  return { name: known.name, text: known.text, values };
}

/** A one-dimensional array in PostgreSQL's binary format: header, then length and bytes of each element. */
const HEADER_BYTES = 20;
const OID = { boolean: 16, bytea: 17, bigint: 20, text: 25 } as const;

function writeHeader(buffer: Buffer, elementType: number, count: number): void {
  buffer.writeInt32BE(count === 0 ? 0 : 1, 0); // dimensions
  buffer.writeInt32BE(1, 4); // may hold nulls
  buffer.writeInt32BE(elementType, 8);
  if (count === 0) return;
  buffer.writeInt32BE(count, 12);
  buffer.writeInt32BE(1, 16); // lower bound
}

const arrayBytes = (count: number, elementBytes: number): number => (count === 0 ? 12 : HEADER_BYTES + elementBytes);

/** A parameter for `::text[]`. */
export function textArray(values: readonly (string | null)[]): Buffer {
  let bytes = 0;
  for (const value of values) bytes += 4 + (value === null ? 0 : Buffer.byteLength(value));
  const buffer = Buffer.allocUnsafe(arrayBytes(values.length, bytes));
  writeHeader(buffer, OID.text, values.length);
  let offset = HEADER_BYTES;
  for (const value of values) {
    const length = value === null ? -1 : buffer.write(value, offset + 4);
    buffer.writeInt32BE(length, offset);
    offset += 4 + Math.max(length, 0);
  }
  return buffer;
}

/** A parameter for `::bigint[]`. */
export function bigintArray(values: readonly (number | null)[]): Buffer {
  const buffer = Buffer.alloc(arrayBytes(values.length, values.length * 12));
  writeHeader(buffer, OID.bigint, values.length);
  let offset = HEADER_BYTES;
  for (const value of values) {
    if (value === null) {
      offset = buffer.writeInt32BE(-1, offset);
    } else {
      offset = buffer.writeInt32BE(8, offset);
      offset = buffer.writeBigInt64BE(BigInt(value), offset);
    }
  }
  return buffer.subarray(0, values.length === 0 ? 12 : offset);
}

/** A parameter for `::boolean[]`. */
export function booleanArray(values: readonly (boolean | null)[]): Buffer {
  const buffer = Buffer.alloc(arrayBytes(values.length, values.length * 5));
  writeHeader(buffer, OID.boolean, values.length);
  let offset = HEADER_BYTES;
  for (const value of values) {
    offset = buffer.writeInt32BE(value === null ? -1 : 1, offset);
    if (value !== null) offset = buffer.writeInt8(value ? 1 : 0, offset);
  }
  return buffer.subarray(0, values.length === 0 ? 12 : offset);
}
