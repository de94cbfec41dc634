/**
 * Request bodies: bounded while they arrive, JSON whatever mild content type a client claims, and checked against the
 * endpoint's schema. Types that announce something else (multipart forms, images) are refused before a byte is read.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#api-standards
 */
import type { IncomingMessage } from 'node:http';
import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { type ErrorCode, MatrixError } from '../protocol/errors.ts';
import { hasOddNumbers, type OddNumbers, parseJson, parseJsonWithOddNumbers } from '../protocol/strict-json.ts';

/** Room for an event of 64 KiB whose text is escaped, with a margin; endpoints that carry more say so. */
export const DEFAULT_BODY_LIMIT = 512 * 1024;

/** For a body of JSON to arrive: a megabyte at modem speed. */
const BODY_TIMEOUT_MS = 180_000;

export interface ReadBody {
  /** What the endpoint's handler gets. */
  readonly value: unknown;
  /** As it came; empty where it was not read here. */
  readonly raw: Buffer;
  /** Of bodies that servers sign: they may carry events, whose room versions say what to do about such numbers. */
  readonly oddNumbers: OddNumbers;
}

export type BodyReader = (request: IncomingMessage) => Promise<ReadBody>;

export const NO_ODD_NUMBERS: OddNumbers = new Set();

export interface BodyOptions {
  readonly schema: TSchema;
  readonly emptyBody?: boolean;
  readonly bodyLimit?: number;
  readonly allowNul?: boolean;
  readonly missingKey?: ErrorCode;
  readonly strictNumbers?: boolean;
  /** Another server's request: strings and numbers are judged event by event, so that one does not spoil the others. */
  readonly isSigned?: boolean;
}

/** Makes the reader for one endpoint's bodies. */
export function compileBody(options: BodyOptions): BodyReader {
  const { schema, bodyLimit = DEFAULT_BODY_LIMIT } = options;
  const validator = Compile(schema);
  return async (request) => {
    checkMediaType(request.headers['content-type']);
    const raw = await readBytes(request, bodyLimit);
    const { value: body, oddNumbers } = parse(raw, options);
    if (options.strictNumbers === true && hasOddNumbers(raw)) {
      throw new MatrixError('M_BAD_JSON', 'Numbers must be integers within 2^53 - 1 of zero, written as such');
    }
    // Only an escape can put these into a string.
    if (options.isSigned !== true && raw.includes('\\u')) checkStrings(body, options.allowNul === true);
    if (validator.Check(body)) return { value: body, raw, oddNumbers };
    throw describeMismatch(validator.Errors(body)[0], options.missingKey);
  };
}

function parse(raw: Buffer, options: BodyOptions): Pick<ReadBody, 'value' | 'oddNumbers'> {
  if (raw.length === 0 && options.emptyBody === true) return { value: {}, oddNumbers: NO_ODD_NUMBERS };
  return options.isSigned === true
    ? parseJsonWithOddNumbers(raw)
    : { value: parseJson(raw), oddNumbers: NO_ODD_NUMBERS };
}

/** Walks parsed JSON, whose depth the parser has bounded. */
function checkStrings(value: unknown, allowNul: boolean): void {
  if (typeof value === 'string') {
    if (!allowNul && value.includes('\0')) throw new MatrixError('M_BAD_JSON', 'Strings must not contain NUL');
    if (!value.isWellFormed()) throw new MatrixError('M_BAD_JSON', 'A string holds half of a surrogate pair');
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      checkStrings(key, allowNul);
      checkStrings(inner, allowNul);
    }
  }
}

function describeMismatch(
  error: ReturnType<ReturnType<typeof Compile>['Errors']>[number] | undefined,
  missingKey: ErrorCode = 'M_BAD_JSON',
): MatrixError {
  if (error === undefined) return new MatrixError('M_BAD_JSON', 'The body is not what this endpoint expects');
  const where = error.instancePath === '' ? 'The body' : error.instancePath.slice(1).replaceAll('/', '.');
  return new MatrixError(error.keyword === 'required' ? missingKey : 'M_BAD_JSON', `${where} ${error.message}`);
}

/** Clients often send JSON under the type that their HTTP library sets by itself. */
const MILD_TYPES: ReadonlySet<string> = new Set([
  '',
  'application/json',
  'text/plain',
  'text/json',
  'application/octet-stream',
  'application/x-www-form-urlencoded',
]);

function checkMediaType(contentType = ''): void {
  const end = contentType.indexOf(';');
  const essence = (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  if (MILD_TYPES.has(essence) || essence.endsWith('+json')) return;
  throw new MatrixError('M_NOT_JSON', 'The content type has to be application/json', { status: 415 });
}

async function readBytes(request: IncomingMessage, limit: number): Promise<Buffer> {
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    // Not what keeps a process alive that has nothing else to do.
    const timer = setTimeout(() => reject(tooSlow()), BODY_TIMEOUT_MS).unref();
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= limit) {
        chunks.push(chunk);
        return;
      }
      // What still comes is thrown away unread, chunk by chunk, until the connection closes with the answer.
      chunks.length = 0;
      clearTimeout(timer);
      reject(tooLarge(limit));
    });
    request.on('end', () => {
      clearTimeout(timer);
      const [only, ...more] = chunks;
      resolve(only === undefined ? Buffer.alloc(0) : more.length === 0 ? only : Buffer.concat(chunks, size));
    });
    request.on('error', (cause) => {
      clearTimeout(timer);
      reject(cause);
    });
    // Comes after every request: the error, which costs a stack trace, is made only where the body did not end.
    request.on('close', () => {
      clearTimeout(timer);
      if (!request.complete) reject(new MatrixError('M_UNKNOWN', 'The request ended early', { status: 400 }));
    });
  });
}

function tooSlow(): MatrixError {
  return new MatrixError('M_UNKNOWN', 'The body took too long', { status: 408, headers: { connection: 'close' } });
}

function tooLarge(limit: number): MatrixError {
  return new MatrixError('M_TOO_LARGE', `The body may have ${limit} bytes at most`, {
    headers: { connection: 'close' },
  });
}
