/**
 * A homeserver in a process of its own that other servers reach over TLS, on an address of its own with a certificate of
 * the tests' authority: for what a crash does between servers.
 */
import { federationOnLoopback, type TestAuthority } from './certificates.ts';
import { nextAddress } from './federation.ts';
import { findFreePort, type ServerProcess, startServer } from './server-process.ts';

export interface FederatingProcess extends AsyncDisposable {
  readonly serverName: string;
  readonly process: ServerProcess;
}

export async function startFederatingProcess(authority: TestAuthority): Promise<FederatingProcess> {
  const address = nextAddress();
  const port = await findFreePort();
  const { certificatePath: certificate, keyPath: key } = await authority.issue(address);
  const serverName = `${address}:8448`;
  const process = await startServer({
    port,
    config: {
      server_name: serverName,
      listeners: [
        { address: '127.0.0.1', port },
        { address, port: 8448, tls: { certificate, key } },
      ],
      federation: federationOnLoopback(authority),
    },
  });
  return { serverName, process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}
