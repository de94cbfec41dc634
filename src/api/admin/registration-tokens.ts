/**
 * Registration tokens: list, make, change, delete.
 */
import { Type } from 'typebox';
import type { RegistrationTokenAdmin } from '../../accounts/registration-token-admin.ts';
import { answer } from '../../http/answer.ts';
import { optional } from '../../http/schema.ts';
import { type AdminEndpoint, DEFAULT_PAGE, defineAdminEndpoint, Empty, Page, readLimit } from './admin-endpoint.ts';
import { createCursor } from './cursor.ts';

const Limit = Type.Union([Type.Integer({ minimum: 0, maximum: 2_147_483_647 }), Type.Null()]);
const Time = Type.Union([Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.Null()]);
const Limits = { uses_allowed: Type.Optional(Limit), expires_at: Type.Optional(Time) };
const Token = Type.Object({
  token: Type.String(),
  uses_allowed: Limit,
  completed: Type.Integer(),
  expires_at: Time,
  created_at: Type.Integer(),
});
const TokenList = Type.Object({ chunk: Type.Array(Token), next_batch: Type.Optional(Type.String()) });
const cursor = createCursor(
  Type.Tuple([Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.String()]),
);
const COLLECTION = '/_hammerhead/v0/admin/registration-tokens';
const ONE = '/_hammerhead/v0/admin/registration-tokens/{token}';

export function adminRegistrationTokenEndpoints(tokens: RegistrationTokenAdmin): readonly AdminEndpoint[] {
  return [
    defineAdminEndpoint({
      method: 'GET',
      path: COLLECTION,
      auth: 'admin',
      query: Type.Object(Page),
      doc: { summary: 'List Registration Tokens', answers: { 200: TokenList } },
      async handle({ query }) {
        const limit = readLimit(query.limit, DEFAULT_PAGE);
        const chunk = await tokens.list({ after: cursor.read(query.since), limit });
        const last = chunk.at(-1);
        const isMore = chunk.length === limit && last !== undefined;
        return { chunk, ...(isMore && { next_batch: cursor.write([last.created_at, last.token]) }) };
      },
    }),
    defineAdminEndpoint({
      method: 'POST',
      path: COLLECTION,
      auth: 'admin',
      body: Type.Object({ token: optional(Type.String()), ...Limits }),
      emptyBody: true,
      doc: { summary: 'Create Registration Token', answers: { 201: Token } },
      handle: async ({ body }) => answer(201, await tokens.create(body.token ?? undefined, toLimits(body))),
    }),
    defineAdminEndpoint({
      method: 'GET',
      path: ONE,
      auth: 'admin',
      doc: { summary: 'Get Registration Token', answers: { 200: Token } },
      handle: ({ params }) => tokens.load(params.token),
    }),
    defineAdminEndpoint({
      method: 'PATCH',
      path: ONE,
      auth: 'admin',
      body: Type.Object(Limits),
      doc: { summary: 'Update Registration Token', answers: { 200: Token } },
      handle: ({ params, body }) => tokens.update(params.token, toLimits(body)),
    }),
    defineAdminEndpoint({
      method: 'DELETE',
      path: ONE,
      auth: 'admin',
      doc: { summary: 'Delete Registration Token', answers: { 200: Empty } },
      async handle({ params }) {
        await tokens.remove(params.token);
        return {};
      },
    }),
  ];
}

function toLimits(body: { readonly uses_allowed?: number | null; readonly expires_at?: number | null }) {
  return { usesAllowed: body.uses_allowed, expiresAt: body.expires_at };
}
