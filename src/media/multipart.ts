/**
 * The two parts of a federation media answer, read as they come: the headers of each are bounded, the metadata is left
 * unread, and what follows is handed on piece by piece. Nothing is held back but what might be the closing boundary.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
 * https://www.rfc-editor.org/rfc/rfc2046#section-5.1
 */

export interface ContentPart {
  /** By lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly chunks: AsyncIterable<Buffer>;
}

/** The answer is none that a server should give. */
export class MultipartError extends Error {}

/** Of one part's headers, and of the metadata, which is an empty object today. */
const MAX_HEAD_BYTES = 16 * 1024;
const MAX_METADATA_BYTES = 64 * 1024;
/** RFC 2046 allows 70 characters. */
const MAX_BOUNDARY = 70;
const HEADERS_END = Buffer.from('\r\n\r\n');

/** The boundary that the Content-Type names; undefined where it is no multipart/mixed. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const [essence = '', ...parameters] = (contentType ?? '').split(';');
  if (essence.trim().toLowerCase() !== 'multipart/mixed') return undefined;
  for (const parameter of parameters) {
    const [, quoted, plain] = /^\s*boundary=(?:"([^"]*)"|([^\s"]*))\s*$/i.exec(parameter) ?? [];
    const boundary = quoted ?? plain;
    if (boundary !== undefined && boundary !== '' && boundary.length <= MAX_BOUNDARY) return boundary;
  }
  return undefined;
}

/** The second part; throws a MultipartError where there is none. */
export async function readContentPart(source: AsyncIterable<Buffer>, boundary: string): Promise<ContentPart> {
  const reader = new PartReader(source, boundary);
  await reader.skipPast(`--${boundary}`, MAX_HEAD_BYTES);
  await reader.skipPast(`\r\n--${boundary}`, MAX_METADATA_BYTES);
  const head = await reader.readHead();
  return { headers: parseHeaders(head), chunks: reader.rest() };
}

class PartReader {
  readonly #source: AsyncIterator<Buffer>;
  readonly #closing: Buffer;
  #buffered: Buffer = Buffer.alloc(0);
  #isEnded = false;

  constructor(source: AsyncIterable<Buffer>, boundary: string) {
    this.#source = source[Symbol.asyncIterator]();
    this.#closing = Buffer.from(`\r\n--${boundary}`);
  }

  async skipPast(text: string, limit: number): Promise<void> {
    const mark = Buffer.from(text);
    const index = await this.#find(mark, limit);
    this.#buffered = this.#buffered.subarray(index + mark.length);
  }

  async readHead(): Promise<string> {
    const index = await this.#find(HEADERS_END, MAX_HEAD_BYTES);
    const head = this.#buffered.subarray(0, index).toString('utf8');
    this.#buffered = this.#buffered.subarray(index + HEADERS_END.length);
    return head;
  }

  async *rest(): AsyncGenerator<Buffer> {
    try {
      for (;;) {
        const end = this.#buffered.indexOf(this.#closing);
        const isWhole = end !== -1;
        const upTo = isWhole ? end : Math.max(this.#buffered.length - this.#closing.length, 0);
        if (upTo > 0) yield this.#buffered.subarray(0, upTo);
        if (isWhole) return;
        this.#buffered = this.#buffered.subarray(upTo);
        if (!(await this.#more())) throw new MultipartError('the answer ended before its content did');
      }
    } finally {
      await this.#source.return?.();
    }
  }

  async #find(mark: Buffer, limit: number): Promise<number> {
    for (;;) {
      const index = this.#buffered.indexOf(mark);
      if (index !== -1 && index <= limit) return index;
      if (this.#buffered.length > limit + mark.length) throw new MultipartError('a part begins with too much');
      if (!(await this.#more())) throw new MultipartError('the answer ended before its content began');
    }
  }

  async #more(): Promise<boolean> {
    if (this.#isEnded) return false;
    const { value, done } = await this.#source.next();
    if (done === true) {
      this.#isEnded = true;
      return false;
    }
    this.#buffered = this.#buffered.length === 0 ? value : Buffer.concat([this.#buffered, value]);
    return true;
  }
}

function parseHeaders(head: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}
