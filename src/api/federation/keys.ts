/**
 * Signing keys: our own, and as a notary those of others. Unauthenticated, since whoever checks a signature starts here.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 */
import { Type } from 'typebox';
import type { Notary } from '../../federation/notary.ts';
import type { OwnKeys } from '../../federation/own-keys.ts';
import { rawJson } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { encodeCanonicalJson } from '../../protocol/canonical-json.ts';

export interface KeyEndpointsOptions {
  readonly ownKeys: OwnKeys;
  readonly notary: Notary;
}

const Criteria = Type.Object({ minimum_valid_until_ts: Type.Optional(Type.Integer({ minimum: 0 })) });

export function keyEndpoints({ ownKeys, notary }: KeyEndpointsOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      // Servers of old ask for one key, and understand all of them.
      path: ['/_matrix/key/v2/server', '/_matrix/key/v2/server/{keyId}'],
      auth: 'none',
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server',
      // The very text that was signed: some check the bytes as they are.
      handle: () => rawJson(encodeCanonicalJson(ownKeys.getDocument())),
    }),
    defineEndpoint({
      method: 'GET',
      path: ['/_matrix/key/v2/query/{serverName}', '/_matrix/key/v2/query/{serverName}/{keyId}'],
      auth: 'none',
      query: Criteria,
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername',
      async handle({ params, query }) {
        return { server_keys: await notary.answer(new Map([[params.serverName, query.minimum_valid_until_ts]])) };
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: '/_matrix/key/v2/query',
      auth: 'none',
      body: Type.Object({ server_keys: Type.Record(Type.String(), Type.Record(Type.String(), Criteria)) }),
      spec: 'https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query',
      async handle({ body }) {
        const wanted = new Map(
          Object.entries(body.server_keys).map(([serverName, keys]) => [serverName, latest(Object.values(keys))]),
        );
        return { server_keys: await notary.answer(wanted) };
      },
    }),
  ];
}

/** One document has to serve for all keys of its server. */
function latest(criteria: readonly { readonly minimum_valid_until_ts?: number }[]): number | undefined {
  const times = criteria.map((wanted) => wanted.minimum_valid_until_ts).filter((time) => time !== undefined);
  return times.length === 0 ? undefined : Math.max(...times);
}
