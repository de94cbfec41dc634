/**
 * The commands about other servers, for a running server.
 */
import type { Command } from 'commander';
import { type AdminOptions, call, withOptions } from './admin.ts';

const PATH = '/_hammerhead/v0/admin/federation';

export function addFederationCommands(federation: Command): void {
  withOptions(federation.command('destinations'))
    .description('the servers that something waits for, or that did not answer')
    .option('--failing', 'only those that do not answer')
    .action((options: AdminOptions & { failing?: boolean }) =>
      call(options, 'GET', `${PATH}/destinations${options.failing === true ? '?failing=true' : ''}`),
    );
  withOptions(federation.command('retry'))
    .description('send to a server at once, however often it failed')
    .argument('<name>', 'its server name')
    .action((name: string, options: AdminOptions) =>
      call(options, 'POST', `${PATH}/destinations/${encodeURIComponent(name)}/retry`),
    );
  withOptions(federation.command('resolve'))
    .description('where a server is found')
    .argument('<name>', 'its server name')
    .action((name: string, options: AdminOptions) =>
      call(options, 'GET', `${PATH}/resolve/${encodeURIComponent(name)}`),
    );
}
