/** How the doctor looks at the network; handed in, so that tests decide what is out there. */
import { lookup, resolveSrv } from 'node:dns/promises';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { connect } from 'node:tls';

export interface TlsPlace {
  readonly host: string;
  readonly port: number;
  /** The name that the certificate has to be for. */
  readonly name: string;
}

export interface Network {
  /** The records of a service, the most wanted first; rejects where there are none. */
  resolveSrv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
  /** Rejects where the host is not known. */
  resolveAddresses(host: string): Promise<readonly string[]>;
  fetchText(url: string): Promise<{ readonly status: number; readonly text: string }>;
  /** What is wrong with the certificate, or undefined; rejects where nobody answers. */
  tryTls(place: TlsPlace): Promise<string | undefined>;
  /** The key document that is shown at the place; rejects where nothing is. */
  fetchKeys(place: TlsPlace & { readonly hostHeader: string }): Promise<string>;
}

const TIMEOUT_MS = 5_000;
/** A well-known file is some hundred bytes; other servers read no more than this of it either. */
const MAX_TEXT_BYTES = 50_000;
const MAX_REDIRECTIONS = 5;

export const systemNetwork: Network = {
  async resolveSrv(name) {
    const records = await resolveSrv(name);
    return records.sort((one, other) => one.priority - other.priority || other.weight - one.weight);
  },
  resolveAddresses: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
  async fetchText(url) {
    const { Agent, interceptors, request } = await import('undici');
    const agent = new Agent({ maxResponseSize: MAX_TEXT_BYTES });
    try {
      const dispatcher = agent.compose(interceptors.redirect({ maxRedirections: MAX_REDIRECTIONS }));
      const answer = await request(url, { dispatcher, signal: AbortSignal.timeout(TIMEOUT_MS) });
      return { status: answer.statusCode, text: await answer.body.text() };
    } finally {
      await agent.destroy();
    }
  },
  async fetchKeys({ host, port, name, hostHeader }) {
    const { Agent, request } = await import('undici');
    // The certificate was looked at before, by its name.
    const connect = { rejectUnauthorized: false, ...(isIP(name) === 0 && { servername: name }) };
    const agent = new Agent({ maxResponseSize: MAX_TEXT_BYTES, connect });
    try {
      const url = `https://${isIP(host) === 6 ? `[${host}]` : host}:${port}/_matrix/key/v2/server`;
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const answer = await request(url, { dispatcher: agent, signal, headers: { host: hostHeader } });
      if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
      return await answer.body.text();
    } finally {
      await agent.destroy();
    }
  },
  async tryTls({ host, port, name }) {
    const socket = connect({ host, port, rejectUnauthorized: false, ...(isIP(name) === 0 && { servername: name }) });
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('no answer within five seconds')));
    try {
      await once(socket, 'secureConnect');
      return socket.authorized ? undefined : String(socket.authorizationError);
    } finally {
      socket.destroy();
    }
  },
};
