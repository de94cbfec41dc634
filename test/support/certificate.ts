/** Certificates for tests, made by OpenSSL. */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';

const OPENSSL = 'openssl';

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
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const files = ['-keyout', key, '-out', certificate];
  const about = ['-days', '90', '-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`];
  execFileSync(OPENSSL, [...made, ...files, ...about], { stdio: 'ignore' });
  chmodSync(key, 0o600);
  return { certificate, key };
}
