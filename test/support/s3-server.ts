/**
 * A real S3-compatible store for tests: Versity's gateway over a scratch folder, built by Go from its module and kept in
 * the system's temporary folder for the next run. Where that cannot be had, tests skip and say why.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { S3Settings } from '../../src/media/s3-store.ts';
import { findFreePort } from './server-process.ts';

export interface S3Server extends AsyncDisposable {
  readonly settings: S3Settings;
  /** Bytes sent to the gateway are written below this folder. */
  readonly bucketPath: string;
}

const VERSION = 'v1.8.0';
const MODULE = `github.com/versity/versitygw/cmd/versitygw@${VERSION}`;
const TOOLS = join(tmpdir(), 'hammerhead-tools', `versitygw-${VERSION}`);
const BUILD_TIMEOUT_MS = 5 * 60_000;
const READY_TIMEOUT_MS = 20_000;
const BUCKET = 'media';
const KEY = { accessKeyId: 'test', secretAccessKey: 'test-secret' };

/** The path of the gateway's program, or why there is none. */
export async function installS3Server(): Promise<{ readonly path: string } | { readonly reason: string }> {
  const path = join(TOOLS, 'versitygw');
  if (existsSync(path)) return { path };
  try {
    // Go moves the finished program into its place, so nobody sees half of it.
    await promisify(execFile)('go', ['install', MODULE], {
      env: { ...process.env, GOBIN: TOOLS, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' },
      timeout: BUILD_TIMEOUT_MS,
    });
    return { path };
  } catch (cause) {
    const reason = `no S3 server: ${MODULE} could not be built: ${cause instanceof Error ? cause.message : ''}`;
    console.error(`SKIPPED, ${reason}`);
    return { reason };
  }
}

export async function startS3Server(path: string): Promise<S3Server> {
  const folder = await mkdtemp(join(tmpdir(), 'hammerhead-s3-'));
  const [data, sidecar] = [join(folder, 'data'), join(folder, 'metadata')];
  await mkdir(join(data, BUCKET), { recursive: true });
  await mkdir(sidecar);
  const port = await findFreePort();
  const { accessKeyId, secretAccessKey } = KEY;
  const address = ['--port', `127.0.0.1:${port}`, '--access', accessKeyId, '--secret', secretAccessKey, '--quiet'];
  const child = spawn(path, [...address, '--keep-alive', 'posix', '--sidecar', sidecar, data], { stdio: 'ignore' });
  const endpoint = `http://127.0.0.1:${port}`;
  await waitUntilListening(endpoint);
  return {
    settings: { endpoint, region: 'us-east-1', bucket: BUCKET, prefix: 'files/', credentials: KEY, pathStyle: true },
    bucketPath: join(data, BUCKET),
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function waitUntilListening(url: string): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    // Any answer will do: without a signature it is a refusal.
    const answer = await fetch(url).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer !== undefined) return;
    await sleep(50);
  }
  throw new Error('the S3 server did not start');
}
