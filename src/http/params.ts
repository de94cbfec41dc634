/**
 * Path parameters: the router gives their values by position, already decoded once; the declaration knows their names.
 */
import { MatrixError } from '../protocol/errors.ts';

const PARAMETER = /\{([^{}]+)\}/g;

/** The names of a path's parameters, in order. */
export function paramNames(path: string): readonly string[] {
  return Array.from(path.matchAll(PARAMETER), (match) => match[1] ?? '');
}

/** The path as the router takes it: parameters by position, so that endpoints may name the same segment differently. */
export function routerPath(path: string): string {
  let position = 0;
  return path.replaceAll(':', '::').replaceAll(PARAMETER, () => `:p${position++}`);
}

/** Puts the values of one of `paths` under their names. */
export function compileParams(
  paths: readonly string[],
): (path: string, values: readonly string[]) => Readonly<Record<string, string>> {
  const names = new Map(paths.map((path) => [path, paramNames(path)]));
  return (path, values) => {
    const params: Record<string, string> = {};
    names.get(path)?.forEach((name, index) => {
      const value = values[index] ?? '';
      if (value.includes('\0')) throw new MatrixError('M_INVALID_PARAM', `${name} must not contain NUL`);
      params[name] = value;
    });
    return params;
  };
}
