/**
 * A web server for previews to look at: pages by path, and a list of the requests that came.
 */
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';

export interface PageServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Paths that were asked for, with their query. */
  readonly asked: string[];
  readonly userAgents: Set<string | undefined>;
}

export type Page =
  | { readonly type: string; readonly body: string | Uint8Array; readonly headers?: Readonly<Record<string, string>> }
  | { readonly redirect: string }
  | ((response: ServerResponse) => void);

export async function startPageServer(
  pages: (url: string) => Readonly<Record<string, Page>>,
  address = '127.0.0.1',
): Promise<PageServer> {
  const asked: string[] = [];
  const userAgents = new Set<string | undefined>();
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    userAgents.add(request.headers['user-agent']);
    // Another query is another page to who remembers pages, and the same one here.
    const known = pages(url);
    const page = known[path] ?? known[path.split('?')[0] ?? ''];
    if (page === undefined) response.writeHead(404).end();
    else if (typeof page === 'function') page(response);
    else if ('redirect' in page) response.writeHead(302, { location: page.redirect }).end();
    else response.writeHead(200, { 'content-type': page.type, ...page.headers }).end(page.body);
  }).listen(0, address);
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const url = `http://${address}:${port}`;
  return {
    port,
    url,
    asked,
    userAgents,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
