/**
 * About the server itself: version and uptime of the admin API, and what an orchestrator asks about its health.
 */
import { Type } from 'typebox';
import { answer } from '../../http/answer.ts';
import type { BuildInfo } from '../../lib/build-info.ts';
import { type AdminEndpoint, defineAdminEndpoint } from './admin-endpoint.ts';

const Status = Type.Object({ status: Type.String() });
const Version = Type.Object({
  build_date: Type.Integer(),
  commit_hash: Type.String(),
  dirty: Type.Boolean(),
  full: Type.String(),
  go_version: Type.String(),
  latest_tag: Type.String(),
  os_arch: Type.String(),
  short: Type.String(),
  tagged_version: Type.String(),
});

export interface AdminServerOptions {
  readonly build: BuildInfo;
  /** When the listeners were opened, unix milliseconds. */
  startedAt(): number | undefined;
  /** Whether requests can be served: the database answers, and the server is not stopping. */
  isReady(): Promise<boolean>;
}

export function adminServerEndpoints(options: AdminServerOptions): readonly AdminEndpoint[] {
  const version = describeBuild(options.build);
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/uptime',
      auth: 'none',
      doc: { summary: 'Get Uptime', answers: { 200: Type.Object({ started_at: Type.Integer() }) } },
      handle: () => ({ started_at: options.startedAt() ?? 0 }),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/version',
      auth: 'none',
      doc: { summary: 'Get Version', answers: { 200: Version } },
      handle: () => version,
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/health/live',
      auth: 'none',
      doc: { summary: 'Get Liveness', answers: { 200: Status } },
      handle: () => ({ status: 'live' }),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/health/ready',
      auth: 'none',
      doc: { summary: 'Get Readiness', answers: { 200: Status, 503: Status } },
      async handle({ logger }) {
        const isReady = await options.isReady().catch((cause: unknown) => {
          logger.warn({ err: cause }, 'not ready');
          return false;
        });
        return isReady ? { status: 'ready' } : answer(503, { status: 'not ready' }, { 'retry-after': '1' });
      },
    }),
  ];
}

function describeBuild(build: BuildInfo): object {
  return {
    build_date: build.buildDate,
    commit_hash: build.commitHash,
    dirty: build.dirty,
    full: build.full,
    // The key is the API's; this server is no Go program, and says what runs it instead.
    go_version: build.runtime,
    latest_tag: build.latestTag,
    os_arch: build.osArch,
    short: build.short,
    tagged_version: build.taggedVersion,
  };
}
