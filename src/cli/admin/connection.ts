/**
 * How a running server is reached: by `--url`, or by the first listener of the configuration file, a unix socket included;
 * and as whom: by an access token, else by the pre-shared secret of the configuration file.
 *
 * A listener with TLS is reached at an address of this machine, which its certificate does not name: that very certificate
 * is what has to be shown.
 */
import { readFileSync } from 'node:fs';
import type { Config } from '../../config/load.ts';
import { loadExisting } from '../config.ts';
import { EXIT, ExitError } from '../exit-codes.ts';

export interface ConnectionOptions {
  readonly config: string;
  readonly url?: string;
  readonly token?: string;
}

export interface Connection {
  readonly origin: string;
  readonly socketPath: string | undefined;
  /** The certificate to expect, as PEM text; undefined for what the system trusts. */
  readonly certificate: string | undefined;
  readonly token: string | undefined;
}

const SOCKET_PREFIX = 'unix:';

export function findConnection({ config: path, url, ...given }: ConnectionOptions): Connection {
  // An empty HAMMERHEAD_TOKEN is none.
  const token = given.token || undefined;
  if (url === undefined) {
    const config = loadExisting(path);
    return { ...describeListener(config), token: token ?? config.registration.adminPreSharedSecret?.reveal() };
  }
  const plain = { certificate: undefined, token: token ?? findSecret(path) };
  if (url.startsWith(SOCKET_PREFIX)) {
    return { origin: 'http://localhost', socketPath: url.slice(SOCKET_PREFIX.length), ...plain };
  }
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new ExitError(EXIT.usage, `expected a URL like http://127.0.0.1:8008 or unix:PATH, got ${url}`);
  }
  return { origin: new URL(url).origin, socketPath: undefined, ...plain };
}

/** With `--url` the file need not be there. */
function findSecret(path: string): string | undefined {
  try {
    return loadExisting(path).registration.adminPreSharedSecret?.reveal();
  } catch {
    return undefined;
  }
}

function describeListener({ listeners }: Config): Omit<Connection, 'token'> {
  const listener = listeners.find(({ unix }) => unix === undefined) ?? listeners[0];
  if (listener === undefined) throw new Error('the configuration was checked');
  return listenerConnection(listener);
}

/** How one listener is reached from this machine. */
export function listenerConnection(listener: Config['listeners'][number]): Omit<Connection, 'token'> {
  if (listener.unix !== undefined) {
    return { origin: 'http://localhost', socketPath: listener.unix, certificate: undefined };
  }
  const certificate = listener.tls === undefined ? undefined : readFileSync(listener.tls.certificate, 'utf8');
  return { origin: listenerUrl(listener), socketPath: undefined, certificate };
}

function listenerUrl({ address, port, tls }: Config['listeners'][number]): string {
  const host =
    address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '[::1]' : address.includes(':') ? `[${address}]` : address;
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`;
}
