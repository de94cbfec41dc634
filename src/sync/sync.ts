/**
 * /sync: answers with what happened since the client's token, or waits until something does. A sync from a recent token
 * is answered from memory; an older one costs a fixed number of statements, however many rooms the user is in.
 *
 * Invariants: the token of an answer names exactly what went into it and the answers before it; a client is woken after
 * COMMIT only; the wait ends early when the client goes away or the server stops.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
 */

import { joinedMembers } from '../engine/room-snapshot.ts';
import type { Logger } from '../lib/logger.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId } from '../protocol/ids.ts';
import {
  compileInvitePermission,
  type JudgeInviter,
  UNSTABLE_INVITE_PERMISSION_TYPE,
} from '../protocol/invite-permission.ts';
import { accountDataStream } from '../storage/account-data.ts';
import { outsideStream } from '../storage/outside-memberships.ts';
import { wholeRoomStream } from '../storage/partial-rooms.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { receiptStream } from '../storage/receipts.ts';
import { loadWriterPosition } from '../storage/rooms.ts';
import { stateChangeStream } from '../storage/state-change-stream.ts';
import type { CommittedBatch } from '../streams/batch.ts';
import type { Hub } from '../streams/hub.ts';
import { formatSyncToken, parseSyncToken, type SyncToken, type TypingPosition } from '../streams/sync-token.ts';
import { createStreamToken, formatStreamToken, positionOf } from '../streams/token.ts';
import { type AnswerOptions, type Attempt, buildAnswer, type TypingReader } from './build-answer.ts';
import { getChanges, loadChanges } from './changes.ts';
import { createDerivedAccountData, type DerivedAccountData } from './derived-account-data.ts';
import { createFullStateTexts } from './full-state-texts.ts';
import { createIgnoredUsers } from './ignored-users.ts';
import { createLazyMembers, type LazySession } from './lazy-members.ts';
import { hasPresenceNews, type PresenceParts, wakeSharing } from './presence.ts';
import { createRecentChanges } from './recent-changes.ts';
import { isEmptyAnswer, type Piece, renderAnswer } from './render.ts';
import { createSyncFilters, type SyncFilters } from './sync-filters.ts';
import type { SyncContext, SyncRequest } from './types.ts';
import { createWaiters, type Waiters, type WaitersRoom } from './waiters.ts';
import { isShort, renderWhole } from './whole-answer.ts';
import { createWholeSyncs, type WholeSync } from './whole-syncs.ts';

/** Longer waits gain nothing, and proxies between tend to cut them. */
const MAX_TIMEOUT_MS = 60_000;
/** Of users who sync now; of most there is nothing but that they have none. */
const MAX_CACHED_INVITE_PERMISSIONS = 20_000;

export interface SyncTyping extends TypingReader {
  readonly position: TypingPosition;
  follow(follower: (roomId: RoomId) => void): Disposable;
}

export interface SyncOptions extends Omit<AnswerOptions, 'fullStates'> {
  readonly typing: SyncTyping;
  readonly hub: Hub;
  readonly committer: { readonly writerId: number; readonly position: number };
  readonly logger: Logger;
}

export interface Sync extends Disposable {
  readonly filters: SyncFilters;
  /** How many clients wait, for the metrics. */
  readonly waiting: number;
  /** A room went without a last event for each member: memory does not know of it. */
  forgetRecent(): void;
  /** The answer as JSON: a long one in pieces, which are made when they are asked for. */
  handle(request: SyncRequest): Promise<Piece | AsyncIterable<Piece>>;
}

/** Has to be made after the engine, whose rooms must hear of each COMMIT first. */
export function createSync(options: SyncOptions): Sync {
  const { database, engine, hub, typing, clock, committer } = options;
  const recent = createRecentChanges({ hub, clock, position: committer.position });
  const ignored = createIgnoredUsers({ database, hub });
  const inviters = createDerivedAccountData<JudgeInviter>({
    database,
    hub,
    type: UNSTABLE_INVITE_PERMISSION_TYPE,
    derive: (content) => compileInvitePermission(undefined, content),
    costOf: () => 1,
    maxCost: MAX_CACHED_INVITE_PERMISSIONS,
  });
  const filters = createSyncFilters({ database, clock });
  const waiters = createWaiters({ clock, getRoom: (roomId) => toWaitersRoom(engine.getSnapshot(roomId)) });
  const handler = createHandler({
    ...options,
    fullStates: createFullStateTexts(),
    recent,
    ignored,
    inviters,
    filters,
    waiters,
  });
  const { presenceParts } = options;
  const following = [
    ...(presenceParts === undefined ? [] : [followPresence(presenceParts, waiters, options.logger)]),
    hub.follow((batch) => wake(waiters, batch)),
    typing.follow((roomId) => waiters.wakeRoom(roomId)),
    recent,
    ignored,
    inviters,
  ];
  return {
    filters,
    get waiting() {
      return waiters.size;
    },
    forgetRecent: () => recent.forget(),
    handle: handler,
    [Symbol.dispose]() {
      for (const one of following) one[Symbol.dispose]();
    },
  };
}

interface Parts extends SyncOptions, Pick<AnswerOptions, 'fullStates'> {
  readonly recent: ReturnType<typeof createRecentChanges>;
  readonly ignored: ReturnType<typeof createIgnoredUsers>;
  readonly inviters: DerivedAccountData<JudgeInviter>;
  readonly filters: SyncFilters;
  readonly waiters: Waiters;
}

function createHandler(parts: Parts): Sync['handle'] {
  const { typing, clock, committer, recent, waiters } = parts;
  const lazyMembers = createLazyMembers();
  const wholeSyncs = createWholeSyncs({ clock });
  const { writerId } = committer;
  const formatPosition = (position: number): string => formatStreamToken(createStreamToken(writerId, position));

  async function begin(
    context: SyncContext,
    session: LazySession,
  ): Promise<{ readonly attempt: Attempt; readonly token: SyncToken }> {
    const wanted = {
      userId: context.userId,
      after: context.after,
      allJoined: context.after === 0 || context.fullState,
    };
    const sources = { ...parts, writerId };
    // Before anything is read: what is typed while the answer is made belongs to the next one.
    const typingPosition = typing.position;
    const presence = parts.presenceParts?.presence.serial;
    const changes = getChanges(sources, wanted) ?? (await loadChanges(sources, wanted));
    const token = { stream: createStreamToken(writerId, changes.position), typing: typingPosition, presence };
    const nextBatch = formatSyncToken(token);
    const isSameStart = context.since?.typing?.boot === typingPosition.boot;
    const presenceAfter = isSameStart ? context.since?.presence : undefined;
    const typingRooms = typing.getChanged(context.since?.typing);
    return { attempt: { changes, session, typingRooms, nextBatch, formatPosition, presenceAfter }, token };
  }

  /** A short answer comes in one piece; of a long one, whatever can be refused is over with the first. */
  async function answerWhole(context: SyncContext, session: LazySession, signal: AbortSignal) {
    const turns = await wholeSyncs.begin(signal);
    try {
      const { attempt } = await turns.turn(() => begin(context, session));
      const pieces = renderWhole(parts, context, { attempt, turns });
      const { value: first = '' } = await pieces.next();
      if (!isShort(context, attempt)) return resume({ first, rest: pieces, turns }, parts.logger);
      const all = [toBytes(first)];
      for await (const piece of pieces) all.push(toBytes(piece));
      turns[Symbol.dispose]();
      return Buffer.concat(all);
    } catch (cause) {
      turns[Symbol.dispose]();
      throw cause;
    }
  }

  return async (request) => {
    const deadline = clock.monotonic() + Math.max(0, Math.min(request.timeout, MAX_TIMEOUT_MS));
    const filter = await parts.filters.load(request.userId, request.filter);
    const session = lazyMembers.open(request, request.since);
    let since = request.since === undefined ? undefined : await checkToken(parts, request.since);
    // To the end of the request.
    using _syncing = await parts.presenceParts?.presence.startSync(request.userId, request.setPresence);
    for (;;) {
      const ignored = parts.ignored.get(request.userId) ?? (await parts.ignored.load(request.userId));
      const judgeInviter = parts.inviters.get(request.userId) ?? (await parts.inviters.load(request.userId));
      const after = since === undefined ? 0 : positionOf(since.stream, writerId);
      const context = { ...request, since, after, filter, ignored, judgeInviter, now: clock.now() };
      if (after === 0 || context.fullState) return answerWhole(context, session, request.signal);
      const { attempt, token } = await begin(context, session);
      const answer = await buildAnswer(parts, context, attempt);
      if (filter.lazyLoadMembers && !isEmptyAnswer(answer)) session.close(attempt.nextBatch);
      const left = deadline - clock.monotonic();
      const isDone = !isEmptyAnswer(answer) || left <= 0;
      if (isDone || request.signal.aborted) return renderAnswer(answer);
      // Nothing up to here concerns the client, so it need not be looked at again.
      since = token;
      const isUnchanged =
        recent.position <= positionOf(token.stream, writerId) &&
        isSame(typing.position, token.typing) &&
        !hasPresenceNews(parts.presenceParts, request.userId, token.presence);
      if (isUnchanged) await waiters.wait(request.userId, { timeout: left, signal: request.signal });
    }
  };
}

function toBytes(piece: Piece): Buffer {
  return typeof piece === 'string' ? Buffer.from(piece) : piece;
}

interface Begun {
  readonly first: Piece;
  readonly rest: AsyncIterable<Piece>;
  readonly turns: WholeSync;
}

/** What was made already, then the rest. */
async function* resume({ first, rest, turns }: Begun, logger: Logger): AsyncGenerator<Piece, void, undefined> {
  using _turns = turns;
  try {
    yield first;
    yield* rest;
  } catch (cause) {
    // The client sees a broken connection, and asks again.
    if (!(cause instanceof MatrixError)) logger.error({ cause }, 'a long sync ended early');
    throw cause;
  }
}

function followPresence(parts: PresenceParts, waiters: Waiters, logger: Logger): Disposable {
  return parts.presence.follow((changed) => {
    wakeSharing(parts, waiters, changed).catch((cause: unknown) =>
      logger.warn({ cause }, 'who waits hears of a change of presence later'),
    );
  });
}

function isSame(a: TypingPosition, b: TypingPosition | undefined): boolean {
  return a.boot === b?.boot && a.serial === b.serial;
}

/** Refuses what is no token, and tokens of a future that this database does not have. */
async function checkToken({ committer, database }: Parts, text: string): Promise<SyncToken> {
  const token = parseSyncToken(text);
  if (token === undefined) throw new MatrixError('M_INVALID_PARAM', 'since is not a sync token');
  const position = positionOf(token.stream, committer.writerId);
  if (position > committer.position && position > (await loadWriterPosition(database, committer.writerId))) {
    throw new MatrixError('M_INVALID_PARAM', 'since is a token of another database');
  }
  return token;
}

function wake(waiters: Waiters, batch: CommittedBatch): void {
  for (const { row } of batch.rowsOf(pduStream)) {
    const { event } = row.stored;
    waiters.wakeRoom(row.head.roomId);
    // Whoever was invited or removed is not among the members that the room will name.
    const userId = row.state?.membership === undefined ? undefined : event.stateKey;
    if (userId !== undefined) waiters.wakeUser(userId);
  }
  for (const { row } of batch.rowsOf(stateChangeStream)) {
    if (row.member !== undefined) waiters.wakeUser(row.stateKey);
  }
  for (const { row } of batch.rowsOf(wholeRoomStream)) waiters.wakeRoom(row.roomId);
  for (const { row } of batch.rowsOf(receiptStream)) {
    if (row.type === 'm.read.private') waiters.wakeUser(row.userId);
    else waiters.wakeRoom(row.roomId);
  }
  for (const { row } of batch.rowsOf(accountDataStream)) waiters.wakeUser(row.userId);
  for (const { row } of batch.rowsOf(outsideStream)) waiters.wakeUser(row.userId);
}

function toWaitersRoom(snapshot: ReturnType<AnswerOptions['engine']['getSnapshot']>): WaitersRoom | undefined {
  return snapshot === undefined
    ? undefined
    : {
        membershipOf: (userId) => snapshot.membershipOf(userId),
        memberCount: snapshot.joinedCount,
        members: () => joinedMembers(snapshot),
      };
}
