/**
 * What a client hears when no server let its user in: what the room's servers said, if one of them spoke for the room, and
 * otherwise that none of them could be reached.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
 */
import { MatrixError } from '../protocol/errors.ts';
import type { FederationError } from './federation-error.ts';

/** The answer that the failures of all servers amount to; the most telling one counts. */
export function toClientError(failures: readonly FederationError[]): MatrixError {
  for (const { applies, make } of ANSWERS) {
    const failure = failures.find(applies);
    if (failure !== undefined) return make(failure);
  }
  const [cause] = failures;
  if (failures.length > 0 && failures.every(({ status }) => status === 404)) {
    return new MatrixError('M_NOT_FOUND', 'None of the servers that were asked is in the room', { cause });
  }
  return new MatrixError('M_UNKNOWN', 'No server that is in the room gave an answer of use', { status: 502, cause });
}

/** Whether the server spoke for the room, so that others will hardly say anything else. */
export function isRefusal({ status }: FederationError): boolean {
  return status === 403;
}

interface AnswerRule {
  readonly applies: (failure: FederationError) => boolean;
  readonly make: (failure: FederationError) => MatrixError;
}

const ANSWERS: readonly AnswerRule[] = [
  {
    applies: isRefusal,
    make: (cause) => new MatrixError('M_FORBIDDEN', 'The room does not let you in', { cause }),
  },
  {
    applies: ({ errcode }) => errcode === 'M_INCOMPATIBLE_ROOM_VERSION',
    make: (cause) =>
      new MatrixError('M_INCOMPATIBLE_ROOM_VERSION', 'This server does not support the version of the room', {
        fields: cause.roomVersion === undefined ? {} : { room_version: cause.roomVersion },
        cause,
      }),
  },
  {
    applies: ({ errcode }) => errcode === 'M_UNABLE_TO_GRANT_JOIN',
    make: (cause) =>
      new MatrixError('M_UNABLE_TO_GRANT_JOIN', 'None of the servers that were asked may let you in', { cause }),
  },
  {
    applies: ({ errcode }) => errcode === 'M_UNABLE_TO_AUTHORISE_JOIN',
    make: (cause) =>
      new MatrixError(
        'M_UNABLE_TO_AUTHORISE_JOIN',
        'None of the servers that were asked can tell whether you may join',
        {
          cause,
        },
      ),
  },
];
