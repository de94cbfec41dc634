/**
 * Compares answers of the admin API with what its declarations, and so the OpenAPI document, say about them: each success
 * has a status that is declared, and a body of the declared form.
 */
import { Compile } from 'typebox/compile';
import type { AdminEndpoint } from '../../src/api/admin/admin-endpoint.ts';

export type CheckAnswer = (
  method: string,
  path: string,
  answer: { readonly status: number; readonly body: unknown },
) => void;

export function createAnswerChecker(endpoints: readonly AdminEndpoint[]): CheckAnswer {
  const routes = endpoints.flatMap(({ method, paths, doc }) => {
    const schemas = Object.entries(doc.answers).map(([status, said]) => {
      return [Number(status), typeof said === 'string' ? undefined : Compile(said)] as const;
    });
    return paths.map((path) => ({ method, path, pattern: toPattern(path), answers: new Map(schemas) }));
  });
  // What is written out comes before what has parameters, as in the server.
  routes.sort((a, b) => a.path.split('{').length - b.path.split('{').length);
  return (method, url, { status, body }) => {
    const path = url.split('?', 1)[0] ?? '';
    const route = routes.find((one) => one.method === method && one.pattern.test(path));
    if (route === undefined || status >= 400) return;
    const declared = `${method} ${route.path}`;
    if (!route.answers.has(status)) throw new Error(`${declared} does not declare the status ${status}`);
    const schema = route.answers.get(status);
    if (schema === undefined || schema.Check(body)) return;
    throw new Error(`${declared} declares another form: ${JSON.stringify(schema.Errors(body)[0])}`);
  };
}

function toPattern(path: string): RegExp {
  const escaped = path.replaceAll('.', '\\.').replaceAll(/\{[^}]+\}/g, '[^/]*');
  return new RegExp(`^${escaped}$`);
}
