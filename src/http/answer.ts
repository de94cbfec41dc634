/**
 * What a handler answers when a plain object with status 200 is not enough.
 */
import type { Readable } from 'node:stream';
import type { MatrixError } from '../protocol/errors.ts';
import { streamTexts } from './large-text.ts';

export type AnswerHeaders = Readonly<Record<string, string>>;

/** An HTTP answer: status, headers, and the body ready to be sent. */
export class Answer {
  readonly status: number;
  readonly headers: AnswerHeaders;
  readonly body: string | Buffer | Readable;
  /** The error code that the body carries, for logs and metrics. */
  readonly errcode: string | undefined;

  constructor(
    status: number,
    body: string | Buffer | Readable,
    options: { headers?: AnswerHeaders; errcode?: string } = {},
  ) {
    this.status = status;
    this.body = body;
    this.headers = options.headers ?? NO_HEADERS;
    this.errcode = options.errcode;
  }
}

const NO_HEADERS: AnswerHeaders = {};
const JSON_TYPE: AnswerHeaders = { 'content-type': 'application/json' };

/** A JSON answer with a status and headers of its own. */
export function answer(status: number, body: object, headers?: AnswerHeaders): Answer {
  return new Answer(status, JSON.stringify(body), {
    headers: headers === undefined ? JSON_TYPE : { ...JSON_TYPE, ...headers },
  });
}

/** JSON that is already text, such as a cached sync answer. */
export function rawJson(text: string | Buffer, status = 200): Answer {
  return new Answer(status, text, { headers: JSON_TYPE });
}

/** JSON text that is too long to be made at once. */
export function longJson(texts: AsyncIterable<string | Buffer>): Answer {
  return new Answer(200, streamTexts(texts), { headers: JSON_TYPE });
}

/** Any other content; `headers` has to name its type. */
export function bytes(body: string | Buffer | Readable, options: { status?: number; headers: AnswerHeaders }): Answer {
  return new Answer(options.status ?? 200, body, { headers: options.headers });
}

/** The standard error answer. */
export function errorAnswer(error: MatrixError): Answer {
  return new Answer(error.status, JSON.stringify(error.toBody()), {
    headers: { ...JSON_TYPE, ...error.headers },
    errcode: error.errcode,
  });
}
