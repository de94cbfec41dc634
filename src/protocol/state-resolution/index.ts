/**
 * State resolution: from the states after each prev event to the one state before an event. Pure and synchronous; the
 * result depends on nothing but the input, and not on the order of its parts.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#room-state-resolution
 */
import type { ResolutionInput, ResolvedState } from './types.ts';
import { resolveV1 } from './v1.ts';
import { resolveV2 } from './v2.ts';

export { authChainOf } from './auth-chain.ts';
export { type EventLookup, type ResolutionInput, type ResolvedState, type StateMap, stateKeyOf } from './types.ts';

/** Resolves the state sets by the algorithm of the room's version. */
export function resolveState(input: ResolutionInput): ResolvedState {
  return input.version.stateResolution === 'v1' ? resolveV1(input) : resolveV2(input);
}
