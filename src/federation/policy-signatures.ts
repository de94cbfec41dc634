/**
 * Asks policy servers for their signatures. What one refuses, the user whose event it is hears in its words, as far as
 * these are words that the endpoint has: no policy server can have our clients believe that their token is gone.
 *
 * One that did not answer is left alone for a while where events of others are concerned: their own servers have to ask
 * it, and a peer could stall a room with events that nobody signed.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign
 */
import type { PolicySigner } from '../engine/ports.ts';
import type { Clock } from '../lib/clock.ts';
import { Lru } from '../lib/lru.ts';
import { type ErrorCode, MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { FederationClient } from './client.ts';
import { FederationError } from './federation-error.ts';

export interface PolicySignerOptions {
  readonly client: Pick<FederationClient, 'fetchJson'>;
  readonly clock: Clock;
  /** Aborted when this server stops. */
  readonly stopping: AbortSignal;
}

/** A user waits: long enough for a policy server that looks at pictures. */
const OWN_DEADLINE_MS = 30_000;
/** All that comes into the room waits. */
const RECEIVED_DEADLINE_MS = 10_000;
/** How long one that gave no answer is not asked about events of others. */
const PAUSE_MS = 30_000;
const MAX_PAUSED = 1_000;
/** One signature, or an error. */
const MAX_ANSWER_BYTES = 64 * 1024;

export function createPolicySigner({ client, clock, stopping }: PolicySignerOptions): PolicySigner {
  const pausedUntil = new Lru<ServerName, number>({ maxCost: MAX_PAUSED });
  const ask = (destination: ServerName, body: JsonObject, deadlineMs: number): Promise<JsonObject> =>
    client.fetchJson({
      destination,
      method: 'POST',
      path: '/_matrix/policy/v1/sign',
      body,
      deadlineMs,
      maxBytes: MAX_ANSWER_BYTES,
      signal: stopping,
    });
  return {
    async fetchSignature({ policy: { serverName }, pdu }) {
      try {
        return await ask(serverName, pdu, OWN_DEADLINE_MS);
      } catch (cause) {
        throw cause instanceof FederationError ? toClientError(cause, serverName) : cause;
      }
    },

    async fetchRecommendation({ policy: { serverName }, pdu }) {
      if ((pausedUntil.get(serverName) ?? 0) > clock.now()) return undefined;
      try {
        return await ask(serverName, pdu, RECEIVED_DEADLINE_MS);
      } catch (cause) {
        if (!(cause instanceof FederationError)) throw cause;
        if (cause.reason !== 'answered') pausedUntil.set(serverName, clock.now() + PAUSE_MS);
        return undefined;
      }
    },
  };
}

/** The error codes that the endpoint answers about an event. */
const PASSED_ON: ReadonlySet<string> = new Set<ErrorCode>(['M_FORBIDDEN', 'M_BAD_JSON', 'M_LIMIT_EXCEEDED']);
const isPassedOn = (errcode: string | undefined): errcode is ErrorCode =>
  errcode !== undefined && PASSED_ON.has(errcode);

function toClientError(cause: FederationError, serverName: ServerName): MatrixError {
  const { errcode, status, outcome, errorText } = cause;
  if (status !== undefined && isPassedOn(errcode)) {
    const after = outcome.kind === 'retry' ? outcome.after : undefined;
    return new MatrixError(errcode, errorText ?? `${serverName} refuses the event`, {
      status,
      fields: after === undefined ? {} : { retry_after_ms: after },
      cause,
    });
  }
  if (status !== undefined && outcome.kind === 'fail') {
    return new MatrixError('M_FORBIDDEN', `${serverName}, the policy server of the room, has not signed the event`, {
      cause,
    });
  }
  if (cause.reason === 'denied') return new MatrixError('M_FORBIDDEN', `This server does not talk with ${serverName}`);
  return new MatrixError('M_UNKNOWN', `${serverName}, the policy server of the room, could not be asked`, {
    status: 502,
    cause,
  });
}
