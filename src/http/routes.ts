/**
 * The table of routes: endpoints grouped by the shape of their path, so that one path knows all its methods.
 */
import type { Endpoint } from './endpoint.ts';
import { routerPath } from './params.ts';

export interface Route {
  readonly endpoint: Endpoint;
  /** The declared path that gave this shape. */
  readonly path: string;
}

export type Methods = ReadonlyMap<string, Route>;

/** Paths as the router takes them, each with its endpoints by method; an endpoint declared twice is an error. */
export function groupByShape(endpoints: readonly Endpoint[]): ReadonlyMap<string, Methods> {
  const shapes = new Map<string, Map<string, Route>>();
  for (const endpoint of endpoints) {
    for (const path of endpoint.paths) {
      const shape = routerPath(path);
      const methods = shapes.get(shape) ?? new Map<string, Route>();
      if (methods.has(endpoint.method)) throw new Error(`${endpoint.method} ${path} is declared twice`);
      shapes.set(shape, methods.set(endpoint.method, { endpoint, path }));
    }
  }
  return shapes;
}
