/**
 * Commands for a running server: each is a request to the admin API, and prints what was answered. `request` reaches the
 * endpoints that have no command of their own.
 */
import { type Command, Option } from 'commander';
import { request } from 'undici';
import type { Config } from '../config/load.ts';
import { OperatorError } from '../lib/operator-error.ts';
import { loadExisting } from './config.ts';
import { configOption } from './options.ts';

export interface AdminOptions {
  readonly config: string;
  readonly url?: string;
  readonly token?: string;
}

export function addAdminCommands(admin: Command): void {
  addCommand(admin, 'uptime', 'when the server started', (options) => call(options, 'GET', '/_hammerhead/v0/uptime'));
  addCommand(admin, 'version', "the running server's version", (options) =>
    call(options, 'GET', '/_hammerhead/v0/version'),
  );
  withOptions(admin.command('request'))
    .description('any endpoint: request GET /_hammerhead/v0/uptime')
    .argument('<method>', 'GET, PUT, POST, PATCH or DELETE')
    .argument('<path>', 'the path, with its query')
    .argument('[body]', 'a JSON text')
    .action((method: string, path: string, body: string | undefined, options: AdminOptions) =>
      call(options, method.toUpperCase(), path, body),
    );
}

function addCommand(admin: Command, name: string, doc: string, run: (options: AdminOptions) => Promise<void>): void {
  withOptions(admin.command(name)).description(doc).action(run);
}

export function withOptions(command: Command): Command {
  return command
    .addOption(configOption())
    .option('--url <url>', "the server's URL (default: the first listener of the configuration file)")
    .addOption(new Option('--token <token>', "an administrator's access token").env('HAMMERHEAD_TOKEN'));
}

const METHODS = ['GET', 'PUT', 'POST', 'PATCH', 'DELETE'] as const;

export async function call(options: AdminOptions, method: string, path: string, body?: string): Promise<void> {
  const known = METHODS.find((name) => name === method);
  if (known === undefined) throw new OperatorError(`expected one of ${METHODS.join(', ')}, got ${method}`);
  const url = new URL(path, options.url ?? findListener(loadExisting(options.config)));
  const answer = await request(url, {
    method: known,
    headers: {
      ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    body: body ?? null,
  }).catch((cause: unknown) => {
    throw new OperatorError(`no server answers at ${url.origin}`, { cause });
  });
  const text = await answer.body.text();
  console.log(text);
  if (answer.statusCode >= 400) throw new OperatorError(`the server answered ${answer.statusCode}`);
}

function findListener({ listeners }: Config): string {
  const listener = listeners.find(({ unix }) => unix === undefined);
  if (listener === undefined) throw new OperatorError('the server listens on a unix socket only: say --url');
  return listenerUrl(listener);
}

/** Where to reach a listener from this machine. */
export function listenerUrl({ address, port, tls }: Config['listeners'][number]): string {
  const host =
    address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '[::1]' : address.includes(':') ? `[${address}]` : address;
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`;
}
