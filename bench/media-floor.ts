/**
 * The floor for downloads: Node's own HTTP server and a file stream for each request, with no look at who asks or what for.
 *
 *   node bench/media-floor.ts FOLDER PORT
 */
import { createReadStream, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [folder = '.', port = '0'] = process.argv.slice(2);
const NAME = /^\/[0-9a-z]+$/;

createServer((request, response) => {
  const name = request.url ?? '';
  if (!NAME.test(name)) {
    response.writeHead(404).end();
    return;
  }
  const path = join(folder, name);
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': statSync(path).size });
  createReadStream(path).pipe(response);
}).listen(Number(port), '127.0.0.1');
