/**
 * What a server shows of a room with an invite. In rooms whose id is made from their create event that event proves which
 * room it is, so it has to be there, whole and signed, and so has all else that is shown; of older rooms nothing proves
 * anything, and their state is what the inviting server says.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
 */
import { admitPdus } from '../engine/admit-pdus.ts';
import type { PduVerifier } from '../engine/ports.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import type { Event, JsonValue } from '../protocol/pdu.ts';
import type { RoomVersion } from '../protocol/room-version.ts';
import type { OddNumbers } from '../protocol/strict-json.ts';
import { listStripped, type StrippedEvent, toStripped, writeStripped } from '../protocol/stripped-state.ts';

export interface InviteState {
  readonly roomId: RoomId;
  readonly version: RoomVersion;
  readonly inviteState: JsonValue | undefined;
  readonly oddNumbers: OddNumbers;
}

/** The text that clients are shown; throws where the invite must not be taken with it. */
export async function readInviteState(verifier: PduVerifier, invite: Event, state: InviteState): Promise<string> {
  const list = listStripped(state.inviteState);
  if (list === undefined) throw invalid('it is no list, or has too many entries');
  const entries = state.version.roomIdFromCreate
    ? await readProven(verifier, list, state)
    : list.flatMap((entry) => toStripped(entry) ?? []);
  const own = { ...invite, stateKey: invite.stateKey ?? '' };
  const text = writeStripped(entries, own);
  if (text === undefined) throw invalid('it is too large');
  return text;
}

async function readProven(
  verifier: PduVerifier,
  list: readonly JsonValue[],
  state: InviteState,
): Promise<readonly StrippedEvent[]> {
  const parsed = await admitPdus(verifier, state, list, state.oddNumbers);
  const events = parsed.map((one) => {
    if ('fault' in one) throw invalid(`one of its events is not of the room: ${one.fault}`);
    return one.received.event;
  });
  if (!events.some(({ type, stateKey }) => type === 'm.room.create' && stateKey === '')) {
    throw invalid('the create event is missing');
  }
  return events.flatMap(({ pdu }) => toStripped(pdu) ?? []);
}

/**
 * What a server shows of a room that one of ours knocked on: the knock is made, so what is not right of it is left out.
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
 */
export async function readKnockState(
  verifier: PduVerifier,
  knock: Event,
  state: Pick<InviteState, 'roomId' | 'version'> & { readonly knockState: JsonValue | undefined },
): Promise<string> {
  const list = listStripped(state.knockState) ?? [];
  const isProven = state.version.roomIdFromCreate;
  const parsed = isProven ? await admitPdus(verifier, state, list) : [];
  const entries = isProven
    ? parsed.flatMap((one) => ('received' in one ? (toStripped(one.received.event.pdu) ?? []) : []))
    : list.flatMap((entry) => toStripped(entry) ?? []);
  const own = { ...knock, stateKey: knock.stateKey ?? '' };
  return writeStripped(entries, own) ?? writeStripped([], own) ?? '[]';
}

function invalid(reason: string): MatrixError {
  return new MatrixError('M_INVALID_PARAM', `invite_room_state is not right: ${reason}`);
}
