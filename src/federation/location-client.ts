/**
 * Files that a server keeps somewhere else, behind a URL of its choice: over HTTPS only, by the network policy that holds
 * for servers, without a signature or anything else of ours.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1mediadownloadmediaid
 */
import { isFinal, mayPass } from './federation-error.ts';
import type { OpenedAnswer, Transport, TransportRequest } from './transport.ts';

/** Opens what the URL leads to in the end; whoever opens disposes. Throws a `FederationError`. */
export type OpenLocation = (
  location: string,
  bounds: Pick<TransportRequest, 'deadlineMs' | 'maxBytes'>,
) => Promise<OpenedAnswer>;

const MAX_REDIRECTS = 3;
const HTTPS_PORT = 443;

export function createLocationClient(transport: Pick<Transport, 'open'>): OpenLocation {
  return async (location, bounds) => {
    let url = parse(location);
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const answer = await transport.open({ ...toRequest(url), ...bounds });
      if (answer.status === 200) return answer;
      const next = answer.headers['location'];
      answer[Symbol.dispose]();
      if (answer.status < 300 || answer.status > 399 || next === undefined) {
        throw mayPass('answered', `the file's place answered ${answer.status}`);
      }
      url = parse(next, url);
    }
    throw isFinal('malformed', 'too many redirects');
  };
}

function parse(text: string, base?: URL): URL {
  if (!URL.canParse(text, base)) throw isFinal('malformed', 'a redirect to nowhere');
  const url = new URL(text, base);
  if (url.protocol !== 'https:') throw isFinal('denied', 'a redirect to what is not HTTPS');
  if (url.username !== '' || url.password !== '') throw isFinal('denied', 'a redirect with credentials');
  return url;
}

function toRequest(url: URL): Pick<TransportRequest, 'target' | 'method' | 'path' | 'headers'> {
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  const port = url.port === '' ? HTTPS_PORT : Number(url.port);
  return {
    target: { host, port, hostHeader: url.host },
    method: 'GET',
    path: url.pathname + url.search,
    headers: { accept: '*/*' },
  };
}
