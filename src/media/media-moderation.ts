/**
 * What administrators do about media that should not be: look through what a user uploaded or a room shows, withdraw it
 * from everybody, give it back, and protect what has to stay. Withdrawing all of a room is a job, since its events have to
 * be read; everything else is one statement.
 */
import type { Job, JobKind, JobRequest, JobStep } from '../jobs/job-runner.ts';
import { MatrixError } from '../protocol/errors.ts';
import { parseServerName, type RoomId, type ServerName } from '../protocol/ids.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { type MediaKey, updateMediaQuarantine } from '../storage/media.ts';
import {
  listMediaOfUser,
  listMentionedMedia,
  loadEndOfWindow,
  loadMediaSummary,
  type MediaMention,
  type MediaOfUserWanted,
  type MediaSummary,
  quarantineMedia,
  quarantineMediaOfUser,
  updateMediaProtection,
} from '../storage/media-moderation.ts';

export const QUARANTINE_ROOM = 'quarantine_room';

export interface MediaModerationOptions {
  readonly database: Database;
  readonly serverName: ServerName;
  readonly jobs: {
    add(tx: Transaction, request: JobRequest): Promise<number | undefined>;
    wake(): void;
    wait(jobId: number): Promise<Job>;
  };
}

/** Where a page of a room's media ended. */
export type MentionCursor = readonly [position: number, key: string | null];

export interface Mentions {
  readonly chunk: readonly MediaMention[];
  /** Undefined at the beginning of the room. */
  readonly next: MentionCursor | undefined;
}

export interface Withdrawal {
  /** Who withdraws it; undefined gives it back. */
  readonly by: string | undefined;
}

export interface MediaModeration {
  /** Throws M_NOT_FOUND for unknown media; `_` is this server. */
  load(origin: string, mediaId: string): Promise<MediaSummary>;
  listOfUser(wanted: MediaOfUserWanted): Promise<readonly MediaSummary[]>;
  listOfRoom(
    roomId: RoomId,
    page: { readonly since: MentionCursor | undefined; readonly limit: number },
  ): Promise<Mentions>;
  quarantine(origin: string, mediaId: string, withdrawal: Withdrawal): Promise<void>;
  /** How many changed. */
  quarantineUser(userId: string, withdrawal: Withdrawal): Promise<number>;
  quarantineRoom(roomId: RoomId, withdrawal: Withdrawal & { readonly requestedBy: string }): Promise<number>;
  /** Protected media stays when all of a user or room is withdrawn. */
  protect(origin: string, mediaId: string, isProtected: boolean): Promise<void>;
}

const THIS_SERVER = '_';
/** Events of one statement: some 30 ms of PostgreSQL's time. */
const EVENTS_PER_LOOK = 5_000;
/** More than that of media in so many events waits for the next look. */
const MEDIA_PER_LOOK = 1_000;
const MAX_ATTEMPTS = 5;

export function createMediaModeration(options: MediaModerationOptions): MediaModeration {
  const { database, jobs } = options;
  const keyOf = (origin: string, mediaId: string): MediaKey => {
    const server = origin === THIS_SERVER ? options.serverName : parseServerName(origin);
    if (server === undefined) throw unknownMedia();
    return { origin: server, mediaId };
  };
  return {
    async load(origin, mediaId) {
      const media = await loadMediaSummary(database, keyOf(origin, mediaId));
      if (media === undefined) throw unknownMedia();
      return media;
    },
    listOfUser: (wanted) => listMediaOfUser(database, wanted),
    listOfRoom: (roomId, page) => look(database, roomId, page),
    async quarantine(origin, mediaId, { by }) {
      if (!(await updateMediaQuarantine(database, keyOf(origin, mediaId), by ?? null))) throw unknownMedia();
    },
    quarantineUser: (userId, { by }) => quarantineMediaOfUser(database, userId, by ?? null),
    async quarantineRoom(roomId, { by, requestedBy }) {
      const request = { kind: QUARANTINE_ROOM, subject: roomId, params: { by: by ?? null }, requestedBy };
      const jobId = await jobs.add(database, request);
      if (jobId === undefined) throw new MatrixError('M_LIMIT_EXCEEDED', 'This is being done for the room just now');
      jobs.wake();
      const { state, error, progress } = await jobs.wait(jobId);
      if (state !== 'done') throw new MatrixError('M_UNKNOWN', `The media could not be withdrawn: ${error ?? state}`);
      return Number(progress['media'] ?? 0);
    },
    async protect(origin, mediaId, isProtected) {
      if (!(await updateMediaProtection(database, keyOf(origin, mediaId), isProtected))) throw unknownMedia();
    },
  };
}

export function createRoomQuarantineKind(database: Database): JobKind {
  return {
    maxAttempts: MAX_ATTEMPTS,
    async step(job): Promise<JobStep> {
      const { by } = job.params;
      const { chunk, next } = await look(database, job.subject as RoomId, {
        since: readCursor(job),
        limit: MEDIA_PER_LOOK,
      });
      const changed = await quarantineMedia(database, chunk, typeof by === 'string' ? by : null);
      const progress = { media: Number(job.progress['media'] ?? 0) + changed };
      return { cursor: next === undefined ? undefined : { position: next[0], key: next[1] }, progress };
    },
  };
}

function readCursor({ cursor }: Job): MentionCursor | undefined {
  if (cursor === undefined) return undefined;
  const { position, key } = cursor;
  return [Number(position), typeof key === 'string' ? key : null];
}

async function look(
  database: Database,
  roomId: RoomId,
  { since, limit }: { readonly since: MentionCursor | undefined; readonly limit: number },
): Promise<Mentions> {
  const [position, key] = since ?? [Number.MAX_SAFE_INTEGER, null];
  const wanted = { roomId, position, key, events: EVENTS_PER_LOOK, limit };
  const [found, end] = await Promise.all([listMentionedMedia(database, wanted), loadEndOfWindow(database, wanted)]);
  const last = found.at(-1);
  const chunk = found.map(({ position: _position, ...mention }) => mention);
  if (found.length === limit && last !== undefined) {
    return { chunk, next: [last.position, `${last.origin}/${last.media_id}`] };
  }
  return { chunk, next: end === undefined ? undefined : [end, null] };
}

function unknownMedia(): MatrixError {
  return new MatrixError('M_NOT_FOUND', 'There is no such media');
}
