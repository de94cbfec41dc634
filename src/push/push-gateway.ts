/**
 * Calls push gateways, which users name: only at allowed addresses, judged after DNS, no redirects, and with bounds on
 * time and on what is read of the answer.
 *
 * https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify
 */

import { Agent } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { admitsHost, type NetworkPolicy, type ResolveName } from '../lib/network-policy.ts';
import { createOutboundConnector, type ProxySettings } from '../lib/outbound-connector.ts';
import { parseJsonText } from '../lib/parse-json.ts';
import { isJsonArray, isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';

export interface PushGateway extends AsyncDisposable {
  /** Sends a notification; returns the pushkeys that the gateway wants to hear no more of. Throws where it is not taken. */
  notify(url: URL, notification: JsonObject): Promise<readonly string[]>;
}

export interface PushGatewayOptions {
  readonly clock: Clock;
  readonly policy: NetworkPolicy;
  readonly userAgent: string;
  readonly resolve?: ResolveName | undefined;
  readonly proxy?: ProxySettings | undefined;
}

/** The notification was not taken; it may be sent again. */
export class PushFailedError extends Error {}

const DEADLINE_MS = 15_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** The next notification to the same gateway finds the connection. */
const KEEP_ALIVE_MS = 30_000;
const MAX_HEADER_BYTES = 16 * 1024;
/** Room for many more pushkeys than were sent. */
const MAX_ANSWER_BYTES = 64 * 1024;

export function createPushGateway({ clock, policy, userAgent, ...options }: PushGatewayOptions): PushGateway {
  const agent = new Agent({
    connect: createOutboundConnector({
      policy,
      proxy: options.proxy,
      resolveName: options.resolve,
      timeoutMs: CONNECT_TIMEOUT_MS,
    }),
    headersTimeout: DEADLINE_MS,
    bodyTimeout: DEADLINE_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    maxResponseSize: MAX_ANSWER_BYTES,
  });
  return {
    async notify(url, notification) {
      if (!admitsHost(policy, url.hostname)) throw new PushFailedError('a host that is not allowed');
      const controller = new AbortController();
      using _deadline = clock.after(DEADLINE_MS, () => controller.abort());
      try {
        const response = await agent.request({
          origin: url.origin,
          path: url.pathname,
          method: 'POST',
          headers: { 'content-type': 'application/json', 'user-agent': userAgent, accept: 'application/json' },
          body: JSON.stringify({ notification }),
          signal: controller.signal,
        });
        const text = await response.body.text();
        if (response.statusCode !== 200) throw new PushFailedError(`status ${response.statusCode}`);
        return readRejected(text);
      } catch (cause) {
        throw cause instanceof PushFailedError
          ? cause
          : new PushFailedError('the gateway could not be asked', { cause });
      }
    },
    [Symbol.asyncDispose]: () => agent.destroy(),
  };
}

function readRejected(text: string): readonly string[] {
  const answer = parseJson(text);
  const rejected = isJsonObject(answer) ? answer['rejected'] : undefined;
  return isJsonArray(rejected) ? rejected.filter((pushkey) => typeof pushkey === 'string') : [];
}

/** What was taken was taken, whatever else the gateway says: sending it again would alert the user twice. */
function parseJson(text: string): JsonValue {
  try {
    return parseJsonText(text) as JsonValue;
  } catch {
    return null;
  }
}
