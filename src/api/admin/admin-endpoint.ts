/**
 * Endpoints of the admin API: declarations as everywhere, with what the OpenAPI document says beyond them.
 */
import type { TObject, TSchema } from 'typebox';
import { Type } from 'typebox';
import { type Auth, defineEndpoint, type Endpoint, type EndpointDeclaration } from '../../http/endpoint.ts';
import { MatrixError } from '../../protocol/errors.ts';

export interface AdminDoc {
  readonly summary: string;
  /** By status: a schema, or what a body-less answer means. */
  readonly answers: Readonly<Record<number, TSchema | string>>;
}

export interface AdminEndpoint extends Endpoint {
  readonly doc: AdminDoc;
}

export function defineAdminEndpoint<
  const P extends string,
  const A extends Auth,
  Q extends TObject | undefined = undefined,
  B extends TSchema | undefined = undefined,
>({ doc, ...declaration }: Omit<EndpointDeclaration<P, A, Q, B>, 'spec'> & { readonly doc: AdminDoc }): AdminEndpoint {
  const spec = `docs/admin-api.md#${anchorOf(doc.summary)}`;
  // Rest keeps every property but `doc`; the compiler loses the correlation of the type parameters on the way.
  const whole = { ...declaration, spec } as unknown as EndpointDeclaration<P, A, Q, B>;
  return { ...defineEndpoint(whole), doc };
}

function anchorOf(summary: string): string {
  return summary.toLowerCase().replaceAll(' ', '-');
}

/** What is answered where there is nothing to say. */
export const Empty = Type.Object({});

export const DEFAULT_PAGE = 100;
export const MAX_PAGE = 1000;
const NUMBER = /^[+-]?\d+(\.\d+)?$/;

/** The number that a query parameter holds; undefined where it is not given. */
export function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!NUMBER.test(text)) throw new MatrixError('M_INVALID_PARAM', `${name} must be a number`);
  return Math.trunc(Number(text));
}

/** As many as are asked for, within 1 and 1000. */
export function readLimit(text: string | undefined, byDefault: number): number {
  return Math.max(1, Math.min(MAX_PAGE, readNumber('limit', text) ?? byDefault));
}

/** Ids are handed out in ascending order: a page holds those below `since`; 0 is nobody's, and begins at the end. */
export function readSince(text: string | undefined): number {
  const since = readNumber('since', text) ?? 0;
  return since === 0 ? Number.MAX_SAFE_INTEGER : Math.max(0, Math.min(since, Number.MAX_SAFE_INTEGER));
}

/** A numeric id in a path; what can be none throws what an unknown one does. */
export function readEntryId(name: string, text: string, unknown: () => MatrixError): number {
  const id = readNumber(name, text) ?? 0;
  if (!Number.isSafeInteger(id)) throw unknown();
  return id;
}

/** Both as text, since what is no number has an error of its own. */
export const Page = { since: Type.Optional(Type.String()), limit: Type.Optional(Type.String()) };
