/**
 * Answers of megabytes, written piece by piece at the pace at which the client takes them: in one piece the encoding alone
 * would hold up everybody else, and a slow client would keep all of it in memory twice.
 */
import { Readable } from 'node:stream';

/** Encoded in well under a millisecond. */
const PIECE_CHARACTERS = 256 * 1024;
/** Up to here one write costs less than a stream. */
const MAX_WHOLE_CHARACTERS = 1024 * 1024;

export function isLargeText(body: unknown): body is string {
  return typeof body === 'string' && body.length > MAX_WHOLE_CHARACTERS;
}

export function streamText(text: string): Readable {
  return Readable.from(pieces(text), { objectMode: false });
}

/** Texts, or their bytes, that are made while the client takes in those before them. */
export function streamTexts(texts: AsyncIterable<string | Buffer>): Readable {
  return Readable.from(piecesOf(texts), { objectMode: false });
}

async function* piecesOf(texts: AsyncIterable<string | Buffer>): AsyncGenerator<Buffer> {
  for await (const text of texts) {
    if (Buffer.isBuffer(text)) yield text;
    else yield* pieces(text);
  }
}

function* pieces(text: string): Generator<Buffer> {
  for (let start = 0; start < text.length; ) {
    const cut = start + PIECE_CHARACTERS;
    // Both halves of a surrogate pair belong into one piece.
    const end = isHighSurrogate(text.charCodeAt(cut - 1)) ? cut + 1 : cut;
    yield Buffer.from(text.slice(start, end));
    start = end;
  }
}

function isHighSurrogate(unit: number): boolean {
  return (unit & 0xfc00) === 0xd800;
}
