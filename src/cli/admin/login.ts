/** From a password to an access token, for `HAMMERHEAD_TOKEN`. */
import { askPassword, isInteractive, readPassword } from '../ask.ts';
import { EXIT, ExitError } from '../exit-codes.ts';
import type { AdminCommand, Input } from './command.ts';
import { showAny } from './output.ts';

export const loginCommand: AdminCommand = {
  name: 'login',
  about: 'open a session with a password, and print its access token alone',
  arguments: [{ name: '<user>', about: "an administrator's user id or localpart" }],
  options: [{ flags: '--password-stdin', about: 'read the password from stdin (default: ask for it)' }],
  examples: ['export HAMMERHEAD_TOKEN=$(hammerheadctl login alice)'],
  async run({ client, output }, input) {
    const session = await client.call({
      method: 'POST',
      path: '/_matrix/client/v3/login',
      body: {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: input.argument(0) },
        password: await readSecret(input),
        initial_device_display_name: 'hammerheadctl',
      },
    });
    if (output.isJson) return output.json(session);
    output.done(showAny(session['access_token']));
  },
};

async function readSecret(input: Input): Promise<string> {
  if (input.has('passwordStdin')) return readPassword();
  if (isInteractive()) return askPassword('Password: ');
  throw new ExitError(EXIT.usage, 'nobody is there to type a password: say --password-stdin, and give it on stdin');
}
