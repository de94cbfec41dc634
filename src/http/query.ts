/**
 * Query strings: everything in them is text, and the endpoint's schema says what it stands for. Parameters that the
 * schema does not name are left out, a repeated one counts once unless the schema wants a list.
 */
import type { TObject, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { MatrixError } from '../protocol/errors.ts';

type Coercion = (value: string) => unknown;

/** More digits than a number holds exactly are no number for us. */
const NUMBER = /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/;

/** Makes the reader for one endpoint's query string. */
export function compileQuery(schema: TObject): (query: Readonly<Record<string, unknown>>) => unknown {
  const validator = Compile(schema);
  const readers = Object.entries(schema.properties).map(([name, property]) => ({ name, read: compileValue(property) }));
  const required = new Set<string>(schema.required ?? []);
  return (query) => {
    const parsed: Record<string, unknown> = {};
    for (const { name, read } of readers) {
      const given = query[name];
      const values = typeof given === 'string' ? [given] : Array.isArray(given) ? given.map(String) : [];
      if (values.some((value) => value.includes('\0'))) throw invalid(name, 'must not contain NUL');
      if (values.length > 0) parsed[name] = read(values);
      else if (required.has(name)) throw new MatrixError('M_MISSING_PARAM', `The query parameter ${name} is missing`);
    }
    if (validator.Check(parsed)) return parsed;
    const error = validator.Errors(parsed)[0];
    throw invalid(error?.instancePath.slice(1) ?? '', error?.message ?? 'is invalid');
  };
}

function invalid(name: string, message: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', `The query parameter ${name} ${message}`);
}

function compileValue(property: TSchema): (values: readonly string[]) => unknown {
  if (typeOf(property) === 'array') {
    const item = coercionOf('items' in property && isSchema(property.items) ? property.items : {});
    return (values) => values.map(item);
  }
  const coerce = coercionOf(property);
  return (values) => coerce(values[0] ?? '');
}

/** What does not look like its type stays text, and the schema's check refuses it. */
function coercionOf(property: TSchema): Coercion {
  const type = typeOf(property);
  if (type === 'boolean') return (value) => (value === 'true' ? true : value === 'false' ? false : value);
  if (type === 'number' || type === 'integer') return (value) => (NUMBER.test(value) ? Number(value) : value);
  return (value) => value;
}

function typeOf(property: TSchema): unknown {
  return 'type' in property ? property.type : undefined;
}

function isSchema(value: unknown): value is TSchema {
  return typeof value === 'object' && value !== null;
}
