/**
 * What `serve` prints: one line, and before the first account exists, how to make it.
 */
export interface WelcomeOptions {
  readonly version: string;
  readonly serverName: string;
  /** URLs and unix sockets, as the server is reached from this machine. */
  readonly addresses: readonly string[];
  readonly registrationToken: string | undefined;
}

export function renderWelcome({ version, serverName, addresses, registrationToken }: WelcomeOptions): string {
  const line = `Hammerhead ${version} serves ${serverName} at ${addresses.join(', ')}`;
  return registrationToken === undefined ? line : `${line}\n${renderFirstSteps(addresses, registrationToken)}`;
}

function renderFirstSteps(addresses: readonly string[], token: string): string {
  const url = addresses.find((address) => address.startsWith('http')) ?? 'http://localhost';
  const body = JSON.stringify({
    username: 'alice',
    password: 'CHOOSE-A-LONG-PASSWORD',
    auth: { type: 'm.login.registration_token', token },
  });
  return `
There is no account yet. The first one becomes the administrator, and needs this one-time token:

    ${token}

In a terminal:

    curl -H 'Content-Type: application/json' -d '${body}' \\
        ${url}/_matrix/client/v3/register

Or in a client such as Element: choose "Create account", set the homeserver to ${url},
choose a name and a password, and enter the token when it asks for it.
`;
}
