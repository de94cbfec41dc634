/**
 * The versions of the specification that this server speaks, and the experiments that are switched on.
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';

export const SPEC_VERSIONS: readonly string[] = Array.from({ length: 19 }, (_, minor) => `v1.${minor + 1}`);

export function versionsEndpoints(
  options: { readonly unstableFeatures?: Readonly<Record<string, boolean>> } = {},
): readonly Endpoint[] {
  const body = { versions: SPEC_VERSIONS, unstable_features: options.unstableFeatures ?? {} };
  return [
    defineEndpoint({
      method: 'GET',
      path: '/_matrix/client/versions',
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions',
      handle: () => body,
    }),
  ];
}
