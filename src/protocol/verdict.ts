/**
 * The outcome of judging an event: a value, never an exception. A rejection names the numbered rule of the room
 * version's page that decided, such as `v12:5.3.2`, and says in words why.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#authorization-rules
 */
export type Verdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly rule: string; readonly reason: string };

/** The one verdict that allows: shared, since the hot path returns it for every event. */
export const ALLOWED: Verdict = Object.freeze({ allowed: true });

/** The verdict that `rule` rejects the event. */
export function rejected(rule: string, reason: string): Verdict {
  return { allowed: false, rule, reason };
}
