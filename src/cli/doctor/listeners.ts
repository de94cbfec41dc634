/**
 * The listeners: whether each port is free while the server is stopped, or ours while it runs; and the certificates that
 * they show.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, isIP } from 'node:net';
import type { Config } from '../../config/load.ts';
import type { Clock } from '../../lib/clock.ts';
import { createAdminClient } from '../admin/client.ts';
import { type Connection, listenerConnection } from '../admin/connection.ts';
import { type Finding, fail, messageOf, ok, warn } from './finding.ts';

type Listener = Config['listeners'][number];

const DAY_MS = 86_400_000;
/** Renewals come a month before the end; half of it is late. */
const RENEWAL_DAYS = 14;
/** A server that is up answers its health check within this. */
const ANSWER_TIMEOUT_MS = 5_000;

export async function checkListeners({ listeners, metrics }: Config): Promise<readonly Finding[]> {
  const answers = await Promise.all(
    listeners.map(async (listener) => ({ listener, answer: await askHealth(listener) })),
  );
  const findings = await Promise.all(answers.map(({ listener, answer }) => judge(listener, answer)));
  const isRunning = answers.some(({ answer }) => answer === 'ready' || answer === 'unready');
  if (isRunning || !metrics.enabled) return findings;
  return [...findings, await tryToListen(metrics, `${metrics.address} port ${metrics.port}, for metrics,`)];
}

type Answer = 'ready' | 'unready' | 'stranger' | 'nobody';

async function judge(listener: Listener, answer: Answer): Promise<Finding> {
  const place = placeOf(listener);
  if (answer === 'ready') return ok('ports', `Hammerhead answers at ${place}`);
  if (answer === 'unready') {
    return fail(
      'ports',
      `Hammerhead at ${place} is not ready`,
      'its log says why; mostly the database does not answer',
    );
  }
  if (answer === 'stranger') {
    return fail(
      'ports',
      `another program answers at ${place}`,
      `stop it (ss -ltnp shows it), or set another port in listeners`,
    );
  }
  return listener.unix === undefined ? tryToListen(listener, place) : ok('ports', `${place} is free`);
}

async function askHealth(listener: Listener): Promise<Answer> {
  const connection = findConnection(listener);
  // No certificate, no server: the check of certificates says why.
  if (connection === undefined) return 'nobody';
  const timeout = new Promise<never>((_resolve, reject) => {
    setTimeout(() => reject(new Error('no answer')), ANSWER_TIMEOUT_MS).unref();
  });
  try {
    const client = createAdminClient(connection);
    const { status, text } = await Promise.race([
      client.callRaw('GET', '/_hammerhead/health/ready', undefined),
      timeout,
    ]);
    if (status === 200 && text.includes('"ready"')) return 'ready';
    return status === 503 && text.includes('"not ready"') ? 'unready' : 'stranger';
  } catch (cause) {
    return isRefused(cause) ? 'nobody' : 'stranger';
  }
}

function findConnection(listener: Listener): Connection | undefined {
  try {
    return { ...listenerConnection(listener), token: undefined };
  } catch {
    return undefined;
  }
}

/** Nobody listens: connection refused, or no such socket. */
function isRefused(cause: unknown): boolean {
  const inner = cause instanceof Error ? cause.cause : undefined;
  const causes = inner instanceof AggregateError ? inner.errors : [inner];
  return causes.some((one) => one instanceof Error && 'code' in one && NOBODY.has(String(one.code)));
}

const NOBODY: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'EADDRNOTAVAIL', 'EHOSTUNREACH', 'ENETUNREACH']);

const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'stop the program that listens there (ss -ltnp shows it), or set another port in listeners',
  EADDRNOTAVAIL: 'this machine has no such address: correct it in listeners',
  EACCES: 'ports below 1024 are for root: set a higher port behind a reverse proxy, or grant CAP_NET_BIND_SERVICE',
};

async function tryToListen({ address, port }: Pick<Listener, 'address' | 'port'>, place: string): Promise<Finding> {
  if (port === 0) return ok('ports', `${address}: any free port is taken`);
  const probe = createServer();
  try {
    probe.listen(port, address);
    await once(probe, 'listening');
    return ok('ports', `${place} is free: the server is not running`);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    return fail('ports', `can't listen at ${place}: ${messageOf(cause)}`, REMEDIES[code] ?? 'correct it in listeners');
  } finally {
    probe.close();
  }
}

function placeOf({ address, port, unix }: Listener): string {
  return unix ?? `${address} port ${port}`;
}

/** The certificates of all listeners with TLS. */
export async function checkCertificates(config: Config, clock: Clock): Promise<readonly Finding[]> {
  const { serverName, wellKnown } = config;
  const name = hostOf(wellKnown.server ?? serverName);
  const files = config.listeners.flatMap(({ tls }) => (tls === undefined ? [] : [tls]));
  return Promise.all(
    files.map(async ({ certificate, key }) => {
      try {
        const [pem, keyPem] = await Promise.all([readFile(certificate, 'utf8'), readFile(key, 'utf8')]);
        return judgeCertificate({ path: certificate, pem, keyPem, name, now: clock.now() });
      } catch (cause) {
        return fail(
          'tls',
          messageOf(cause),
          'correct listeners.tls: certificate and key are PEM files that the server reads',
        );
      }
    }),
  );
}

export interface CertificateFacts {
  readonly path: string;
  readonly pem: string;
  readonly keyPem: string;
  /** The host that other servers ask for. */
  readonly name: string;
  readonly now: number;
}

export function judgeCertificate({ path, pem, keyPem, name, now }: CertificateFacts): Finding {
  const certificate = new X509Certificate(pem);
  const days = Math.floor((certificate.validToDate.getTime() - now) / DAY_MS);
  const renew = 'renew it, and restart the server';
  if (!certificate.checkPrivateKey(createPrivateKey(keyPem))) {
    return fail(
      'tls',
      `${path}: the key belongs to another certificate`,
      'set the key that the certificate was made with',
    );
  }
  if (certificate.validFromDate.getTime() > now)
    return fail('tls', `${path} is not valid yet`, "check this machine's clock");
  if (days < 0) return fail('tls', `${path} has expired`, renew);
  const isFor = isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name);
  if (isFor === undefined) {
    return fail(
      'tls',
      `${path} is not for ${name} but for ${certificate.subjectAltName ?? certificate.subject}`,
      `get a certificate for ${name}`,
    );
  }
  const isAlone = pem.indexOf('BEGIN CERTIFICATE') === pem.lastIndexOf('BEGIN CERTIFICATE');
  if (isAlone && certificate.issuer !== certificate.subject) {
    return warn(
      'tls',
      `${path} holds no intermediate certificate`,
      'use the full chain (fullchain.pem): others may not know the issuer',
    );
  }
  if (days < RENEWAL_DAYS) return warn('tls', `${path} expires in ${days} days`, renew);
  return ok('tls', `${path} is valid for ${name} for ${days} days`);
}

/** Without the port, and without the brackets of IPv6. */
export function hostOf(serverName: string): string {
  return serverName.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '');
}
