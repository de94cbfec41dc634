/**
 * A certificate authority for tests, certificates of it for names and addresses, and such that nobody but themselves signed:
 * made by `openssl`, since Node can check X.509 and not sign it.
 */
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Certificate {
  readonly certificate: string;
  readonly key: string;
}

export interface TestAuthority extends AsyncDisposable {
  /** PEM, and the file that holds it. */
  readonly certificate: string;
  readonly certificatePath: string;
  issue(
    ...names: readonly string[]
  ): Promise<Certificate & { readonly certificatePath: string; readonly keyPath: string }>;
}

const OPENSSL = 'openssl';
/** How a server is to federate with others of this machine that the authority has signed. */
export function federationOnLoopback({ certificatePath }: Pick<TestAuthority, 'certificatePath'>) {
  return { allowed_networks: ['127.0.0.0/8'], certificates: certificatePath, trusted_key_servers: [] };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

export async function createTestAuthority(): Promise<TestAuthority> {
  const folder = await mkdtemp(join(tmpdir(), 'hammerhead-ca-'));
  const openssl = (...options: readonly string[]) => promisify(execFile)(OPENSSL, options, { cwd: folder });
  await openssl(
    'req',
    '-x509',
    ...NEW_KEY,
    '-keyout',
    'ca.key',
    '-out',
    'ca.crt',
    '-days',
    '2',
    '-subj',
    '/CN=Test CA',
  );
  let issued = 0;
  return {
    certificate: await readFile(join(folder, 'ca.crt'), 'utf8'),
    certificatePath: join(folder, 'ca.crt'),
    async issue(...names) {
      const name = `${issued++}`;
      const [certificatePath, keyPath] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
      const subjects = names.map((subject) => `${isIP(subject) === 0 ? 'DNS' : 'IP'}:${subject}`);
      await writeFile(join(folder, `${name}.ext`), `subjectAltName=${subjects.join(',')}\n`);
      await openssl('req', ...NEW_KEY, '-keyout', keyPath, '-out', `${name}.csr`, '-subj', '/CN=test');
      const authority = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
      const request = ['-in', `${name}.csr`, '-out', certificatePath, '-extfile', `${name}.ext`];
      await openssl('x509', '-req', ...request, ...authority);
      const [certificate, key] = await Promise.all([readFile(certificatePath, 'utf8'), readFile(keyPath, 'utf8')]);
      return { certificate, key, certificatePath, keyPath };
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly folder: string;
  readonly name: string;
  /** As OpenSSL writes them: "DNS:example.org,IP:127.0.0.1". */
  readonly names: string;
}

/** A certificate for 90 days that nobody but itself signed. */
export function makeCertificate({ folder, name, names }: CertificateOptions): CertificateFiles {
  const [certificate, key] = [join(folder, `${name}.crt`), join(folder, `${name}.key`)];
  const made = ['req', '-x509', ...NEW_KEY];
  const files = ['-keyout', key, '-out', certificate];
  const about = ['-days', '90', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`];
  execFileSync(OPENSSL, [...made, ...files, ...about], { stdio: 'ignore' });
  chmodSync(key, 0o600);
  return { certificate, key };
}
