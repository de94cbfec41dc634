/**
 * The audit log: made from how the admin API's requests end, and read by administrators.
 */
import { Type } from 'typebox';
import type { AuditLog } from '../../accounts/audit.ts';
import type { Outcome, Requester } from '../../http/endpoint.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, Page, readLimit, readSince } from './admin-endpoint.ts';

const PRE_SHARED_SECRET = 'pre-shared secret';

/** Who asks, for records. */
export function nameOf(requester: Requester | undefined): string {
  return requester?.userId ?? PRE_SHARED_SECRET;
}

/** Makes an entry of each request that needs an administrator. */
export function audited(endpoints: readonly AdminEndpoint[], audit: AuditLog): readonly AdminEndpoint[] {
  const onOutcome = ({ context, requester, answer, isAuthenticated, ...request }: Outcome): Promise<void> =>
    audit.record({
      actor: isAuthenticated ? nameOf(requester) : undefined,
      method: request.method,
      path: request.path,
      params: request.params,
      body: request.body,
      ip: context.ip,
      userAgent: context.userAgent,
      status: answer.status,
      errcode: answer.errcode,
    });
  return endpoints.map((endpoint) => (endpoint.auth === 'none' ? endpoint : { ...endpoint, onOutcome }));
}

const Entry = Type.Object({
  entry_id: Type.Integer(),
  at: Type.Integer(),
  actor: Type.Optional(Type.String()),
  method: Type.String(),
  path: Type.String(),
  params: Type.Array(Type.String()),
  body: Type.Optional(Type.String()),
  ip: Type.String(),
  user_agent: Type.String(),
  status: Type.Integer(),
  errcode: Type.Optional(Type.String()),
});

export function adminAuditEndpoints(audit: AuditLog): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: '/_hammerhead/v0/admin/audit',
      auth: 'admin',
      query: Type.Object({ ...Page, actor: Type.Optional(Type.String()) }),
      doc: {
        summary: 'List Audit Log',
        answers: { 200: Type.Object({ chunk: Type.Array(Entry), next_batch: Type.Optional(Type.Integer()) }) },
      },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const entries = await audit.list({ before: readSince(query.since), limit, actor: query.actor });
        const last = entries.at(-1);
        return {
          chunk: entries.map(({ entryId, userAgent, ...entry }) => ({
            entry_id: entryId,
            ...entry,
            user_agent: userAgent,
          })),
          ...(entries.length === limit && last !== undefined && { next_batch: last.entryId }),
        };
      },
    }),
  ];
}
