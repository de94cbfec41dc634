/**
 * The load generator's HTTP client: one pool of keep-alive connections, one callback object per request and no stream,
 * since generator, server and PostgreSQL share the same cores and its own cost falsifies what it measures.
 */
import { type Dispatcher, Pool } from 'undici';

interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly token?: string;
  readonly body?: unknown;
}

interface ApiResponse {
  readonly status: number;
  readonly text: string;
}

export interface HttpClient {
  send(request: ApiRequest): Promise<ApiResponse>;
  /** The parsed body of a 200; any other answer is an error that shows it. */
  call(request: ApiRequest): Promise<unknown>;
  close(): Promise<void>;
}

/** As many as browsers and proxies keep open to one server in earnest; more would only measure the kernel. */
const MAX_CONNECTIONS = 256;
/** Above the 30 s of a long poll. */
const ANSWER_TIMEOUT_MS = 120_000;

export function createHttpClient(url: string): HttpClient {
  const pool = new Pool(url, {
    connections: MAX_CONNECTIONS,
    pipelining: 1,
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
  });
  const send = (request: ApiRequest): Promise<ApiResponse> =>
    new Promise((resolve, reject) => {
      const body = request.body === undefined ? null : JSON.stringify(request.body);
      const headers: Record<string, string> = {};
      if (body !== null) headers['content-type'] = 'application/json';
      if (request.token !== undefined) headers['authorization'] = `Bearer ${request.token}`;
      pool.dispatch({ method: request.method, path: request.path, headers, body }, collect(resolve, reject));
    });
  return {
    send,
    async call(request) {
      const { status, text } = await send(request);
      if (status === 200) return JSON.parse(text);
      throw new Error(`${request.method} ${request.path} answered ${status}: ${text.slice(0, 500)}`);
    },
    close: () => pool.destroy(),
  };
}

function collect(resolve: (response: ApiResponse) => void, reject: (error: Error) => void): Dispatcher.DispatchHandler {
  const chunks: Buffer[] = [];
  let status = 0;
  return {
    onRequestStart: () => undefined,
    onResponseStart: (_controller, statusCode) => {
      status = statusCode;
    },
    onResponseData: (_controller, chunk) => {
      chunks.push(chunk);
    },
    onResponseEnd: () => {
      const [first = Buffer.alloc(0)] = chunks;
      resolve({ status, text: (chunks.length > 1 ? Buffer.concat(chunks) : first).toString('utf8') });
    },
    onResponseError: (_controller, error) => reject(error),
  };
}
