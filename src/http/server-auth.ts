/**
 * What the HTTP server asks of whoever checks other servers' signatures: a port, since keys are the federation's affair.
 */
import type { ServerName } from '../protocol/ids.ts';
import type { ReadBody } from './body.ts';

/** A request as it was signed. */
export interface SignedHttpRequest {
  readonly method: string;
  /** Path and query as they stand in the request line. */
  readonly uri: string;
  /** Undefined where the endpoint takes none. */
  readonly body: Pick<ReadBody, 'value' | 'raw' | 'oddNumbers'> | undefined;
}

export interface ServerClaim {
  /** The name of the server that signed the request; throws M_UNAUTHORIZED where the signature does not prove it. */
  verify(request: SignedHttpRequest): Promise<ServerName>;
}

export interface ServerAuthenticator {
  /** Judges the `Authorization` headers as far as they go; throws M_UNAUTHORIZED or M_FORBIDDEN before a body is read. */
  begin(authorization: readonly string[]): ServerClaim;
}
