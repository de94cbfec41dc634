/**
 * The OpenAPI document of the admin API, made from the declarations: what the server checks and what the document says
 * come from the same place.
 *
 * https://spec.openapis.org/oas/v3.1.0
 */
import { Type } from 'typebox';
import { paramNames } from '../../http/params.ts';
import { type AdminEndpoint, defineAdminEndpoint } from './admin-endpoint.ts';

/** The document's own endpoint, for the endpoints given and itself. */
export function openApiEndpoint(endpoints: readonly AdminEndpoint[], version: string): AdminEndpoint {
  const own = defineAdminEndpoint({
    method: 'GET',
    path: '/_hammerhead/v0/openapi.json',
    auth: 'none',
    doc: {
      summary: 'Get OpenAPI Document',
      answers: { 200: Type.Object({}, { additionalProperties: true, description: 'This document' }) },
    },
    handle: () => document,
  });
  const document = describe([...endpoints, own], version);
  return own;
}

function describe(endpoints: readonly AdminEndpoint[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const endpoint of endpoints) {
    // Further paths of an endpoint only say what is missing from the first.
    const path = endpoint.paths[0] ?? '';
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: describeOperation(endpoint, path) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Hammerhead admin API', version },
    paths,
    components: {
      securitySchemes: {
        admin: { type: 'http', scheme: 'bearer', description: 'The access token of an administrator' },
        preSharedSecret: { type: 'http', scheme: 'bearer', description: 'registration.admin_pre_shared_secret' },
      },
      schemas: { Error: ERROR },
    },
  };
}

const ERROR = Type.Object({ errcode: Type.String(), error: Type.String() });
const ERROR_ANSWER = {
  description: 'An error',
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
};

function describeOperation({ doc, auth, bodySchema, querySchema, readBody }: AdminEndpoint, path: string): object {
  const pathParameters = paramNames(path).map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const queryParameters = Object.entries(querySchema?.properties ?? {}).map(([name, schema]) => ({
    name,
    in: 'query',
    required: querySchema?.required?.includes(name) === true,
    schema,
  }));
  return {
    summary: doc.summary,
    operationId: toOperationId(doc.summary),
    security: SECURITY[auth],
    ...(pathParameters.length + queryParameters.length > 0 && { parameters: [...pathParameters, ...queryParameters] }),
    ...(bodySchema !== undefined &&
      readBody !== undefined && { requestBody: { content: { 'application/json': { schema: bodySchema } } } }),
    responses: {
      ...Object.fromEntries(Object.entries(doc.answers).map(([status, said]) => [status, describeAnswer(said)])),
      default: ERROR_ANSWER,
    },
  };
}

/** Either of the entries of a list suffices. */
const SECURITY: Readonly<Record<AdminEndpoint['auth'], readonly object[]>> = {
  none: [],
  optional: [],
  user: [{ admin: [] }],
  admin: [{ admin: [] }],
  'admin-or-psk': [{ admin: [] }, { preSharedSecret: [] }],
  // No part of the admin API.
  server: [],
};

function describeAnswer(said: AdminEndpoint['doc']['answers'][number] | undefined): object {
  if (said === undefined || typeof said === 'string') return { description: said ?? '' };
  return { description: 'Success', content: { 'application/json': { schema: said } } };
}

function toOperationId(summary: string): string {
  const [first = '', ...rest] = summary.split(' ');
  return first.toLowerCase() + rest.join('');
}
