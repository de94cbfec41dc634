/**
 * Counts and sums up the rows that flow through: COPY's text format has one row a line, and a newline inside of a value is
 * written as `\n`. The digest is the sum of the rows' SHA-256, word by word, so that it is the same in whatever order the
 * rows come: PostgreSQL gives them as they lie, and after a restore they may lie otherwise.
 */
import { hash } from 'node:crypto';
import { Transform } from 'node:stream';

export interface RowDigest {
  readonly stream: Transform;
  /** After the stream's end. */
  result(): { readonly rows: number; readonly digest: string };
}

const NEWLINE = 10;
const WORDS = 8;
const WORD_BYTES = 4;

export function createRowDigest(onRows?: (count: number) => void): RowDigest {
  const sum = new Uint32Array(WORDS);
  let rows = 0;
  let rest: Buffer[] = [];
  const add = (row: Buffer): void => {
    const digest = hash('sha256', row, 'buffer');
    for (let word = 0; word < WORDS; word++) sum[word] = (sum[word] ?? 0) + digest.readUInt32BE(word * WORD_BYTES);
    rows += 1;
  };
  const read = (chunk: Buffer): void => {
    const before = rows;
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const line = chunk.subarray(start, end);
      add(rest.length === 0 ? line : Buffer.concat([...rest, line]));
      rest = [];
      start = end + 1;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
    onRows?.(rows - before);
  };
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      read(chunk);
      done(null, chunk);
    },
  });
  return {
    stream,
    result() {
      const bytes = Buffer.alloc(WORDS * WORD_BYTES);
      sum.forEach((word, index) => void bytes.writeUInt32BE(word, index * WORD_BYTES));
      return { rows, digest: bytes.toString('hex') };
    },
  };
}
