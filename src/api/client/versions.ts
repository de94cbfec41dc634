/**
 * The versions of the specification that this server speaks, and the experiments that are switched on.
 */
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';

export const SPEC_VERSIONS: readonly string[] = Array.from({ length: 19 }, (_, minor) => `v1.${minor + 1}`);

/** Proposals that are no part of the spec yet and that clients ask for by these names. */
const UNSTABLE_FEATURES: Readonly<Record<string, boolean>> = {
  // MSC3391: deleting account data.
  'org.matrix.msc3391': true,
};

export function versionsEndpoints(
  options: { readonly unstableFeatures?: Readonly<Record<string, boolean>> } = {},
): readonly Endpoint[] {
  const body = {
    versions: SPEC_VERSIONS,
    unstable_features: { ...UNSTABLE_FEATURES, ...options.unstableFeatures },
  };
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
