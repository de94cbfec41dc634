/** `hammerhead admin`, which is `hammerheadctl`: all commands for a running server. */
import type { Command } from 'commander';
import { addExamples } from '../options.ts';
import { mountCommand, mountGroup } from './command.ts';
import { federation } from './federation.ts';
import { jobs } from './jobs.ts';
import { loginCommand } from './login.ts';
import { media } from './media.ts';
import { registrationTokens } from './registration-tokens.ts';
import { reports } from './reports.ts';
import { rooms } from './rooms.ts';
import { serverCommands } from './server.ts';
import { users } from './users.ts';

const GROUPS = [users, rooms, media, reports, registrationTokens, federation, jobs];

export function addAdminCommands(admin: Command): void {
  addExamples(admin, [
    'hammerheadctl users create --admin alice',
    'export HAMMERHEAD_TOKEN=$(hammerheadctl login alice)',
    'hammerheadctl users list',
  ]);
  for (const group of GROUPS) mountGroup(admin, group);
  for (const command of [loginCommand, ...serverCommands]) mountCommand(admin, command);
}
