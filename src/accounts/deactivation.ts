/**
 * Deactivation, by an administrator or by the user. The account is shut at once; what takes long (redactions, leaving
 * rooms) is a job in steps that survives the end of the process and of the request.
 *
 * Order: deactivated and no administrator; redactions; erased; profile; account data; devices; rooms.
 */
import type { Job, JobKind, JobRequest, JobStep } from '../jobs/job-runner.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { RoomId, UserId } from '../protocol/ids.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import { deactivateAccount } from '../storage/accounts.ts';
import type { Database, Transaction } from '../storage/database.ts';
import { deleteProfile } from '../storage/profiles.ts';
import {
  deleteAllAccountData,
  isDeactivatedAccount,
  listCurrentRooms,
  markDeactivated,
} from '../storage/user-removal.ts';
import type { DeviceOwner, Devices } from './devices.ts';

export const DEACTIVATE = 'deactivate';

/** What one step of redacting did; `cursor` undefined at the end. */
export interface RedactionStep {
  readonly cursor: JsonObject | undefined;
  readonly redacted: number;
  readonly failed: number;
}

export interface DeactivationKindOptions {
  readonly database: Database;
  readonly devices: Pick<Devices, 'deleteAll'>;
  /** Redacts some of the events that the user sent up to the position. */
  redactSome(userId: UserId, upTo: number, cursor: JsonObject | undefined): Promise<RedactionStep>;
  /** Leaves the room, rejects the invite or takes back the knock. */
  leaveRoom(userId: UserId, roomId: RoomId): Promise<unknown>;
  readonly onLeaveFailed: (cause: unknown, roomId: RoomId) => void;
}

interface Params {
  readonly userId: UserId;
  readonly accountId: number;
  readonly erase: boolean;
  readonly redact: boolean;
  /** What is sent later is not redacted: the redactions themselves. */
  readonly upTo: number;
}

const PHASES = ['redact', 'erase', 'profile', 'account_data', 'devices', 'rooms'] as const;
type Phase = (typeof PHASES)[number];

/** Few retries would give up on a database that restarts; the delays between them grow to a minute. */
const MAX_ATTEMPTS = 20;
/** Rooms that are left in one step, and at the same time: enough to fill commits, few enough to leave room for others. */
const ROOMS_PER_STEP = 50;
const LEAVING_AT_ONCE = 8;

export function createDeactivationKind(options: DeactivationKindOptions): JobKind {
  return {
    maxAttempts: MAX_ATTEMPTS,
    async step(job) {
      const params = readParams(job);
      const phase = PHASES.find((one) => one === job.cursor?.['phase']) ?? (params.redact ? 'redact' : 'erase');
      if (phase === 'redact') return redact(options, job, params);
      if (phase === 'rooms') return leaveRooms(options, job, params);
      await runPhase(options, phase, params);
      return { cursor: { phase: nextPhase(phase) }, progress: job.progress };
    },
  };
}

async function runPhase(
  { database, devices }: DeactivationKindOptions,
  phase: Exclude<Phase, 'redact' | 'rooms'>,
  { accountId, userId, erase }: Params,
): Promise<void> {
  if (phase === 'erase') await deactivateAccount(database, accountId, erase);
  else if (phase === 'profile') await deleteProfile(database, userId);
  else if (phase === 'account_data') await deleteAllAccountData(database, userId);
  else await devices.deleteAll({ accountId, userId });
}

async function redact(options: DeactivationKindOptions, job: Job, { userId, upTo }: Params): Promise<JobStep> {
  const at = job.cursor?.['at'];
  const done = await options.redactSome(userId, upTo, isObject(at) ? at : undefined);
  const progress = add(job.progress, { redacted: done.redacted, not_redacted: done.failed });
  const cursor = done.cursor === undefined ? { phase: nextPhase('redact') } : { phase: 'redact', at: done.cursor };
  return { cursor, progress };
}

async function leaveRooms(options: DeactivationKindOptions, job: Job, { userId }: Params): Promise<JobStep> {
  const after = String(job.cursor?.['after'] ?? '');
  const roomIds = await listCurrentRooms(options.database, { userId, after, limit: ROOMS_PER_STEP });
  let left = 0;
  let failed = 0;
  const waiting = [...roomIds];
  const leaveAll = async (): Promise<void> => {
    for (let roomId = waiting.shift(); roomId !== undefined; roomId = waiting.shift()) {
      try {
        await options.leaveRoom(userId, roomId);
        left += 1;
      } catch (cause) {
        failed += 1;
        options.onLeaveFailed(cause, roomId);
      }
    }
  };
  await Promise.all(Array.from({ length: LEAVING_AT_ONCE }, leaveAll));
  const last = roomIds.at(-1);
  const progress = add(job.progress, { rooms_left: left, rooms_not_left: failed });
  return { cursor: last === undefined ? undefined : { phase: 'rooms', after: last }, progress };
}

export interface DeactivationOptions {
  readonly database: Database;
  readonly jobs: {
    add(tx: Transaction, request: JobRequest): Promise<number | undefined>;
    wake(): void;
    wait(jobId: number): Promise<Job>;
  };
  /** The position up to which everything is committed. */
  getPosition(): number;
  /** The authenticator's `forget`. */
  forgetTokens(accountId: number): void;
}

export interface DeactivationRequest extends DeviceOwner {
  readonly erase: boolean;
  readonly redact: boolean;
  readonly requestedBy: string;
}

export interface Deactivation {
  /** False where the account was deactivated before: then nothing is done. Throws when the work could not be finished. */
  deactivate(request: DeactivationRequest): Promise<boolean>;
  /**
   * For an account that is deactivated already: marks it as erased, and does again what a deactivation does, in case that
   * it was cut off. Throws M_BAD_STATE where the account is not, and M_LIMIT_EXCEEDED while its deactivation runs.
   */
  erase(request: Omit<DeactivationRequest, 'erase'>): Promise<void>;
  /** By the user: shuts the account, and does the rest in the background. */
  deactivateOwn(owner: DeviceOwner, options: { readonly erase: boolean }): Promise<void>;
}

export function createDeactivation(options: DeactivationOptions): Deactivation {
  const { database, jobs } = options;
  const addJob = (tx: Transaction, { requestedBy, ...request }: DeactivationRequest): Promise<number | undefined> => {
    const params = { ...request, upTo: options.getPosition() };
    return jobs.add(tx, { kind: DEACTIVATE, subject: request.userId, params, requestedBy });
  };
  const begin = async (request: DeactivationRequest): Promise<number | undefined> => {
    const jobId = await database.transaction(async (tx) => {
      if (!(await markDeactivated(tx, request.accountId))) return undefined;
      return addJob(tx, request);
    });
    if (jobId === undefined) return undefined;
    options.forgetTokens(request.accountId);
    jobs.wake();
    return jobId;
  };
  const finishJob = async ({ userId }: DeviceOwner, jobId: number): Promise<void> => {
    const { state, error } = await jobs.wait(jobId);
    if (state !== 'done') throw new Error(`the deactivation of ${userId} ${state}: ${error ?? ''}`);
  };
  return {
    async deactivate(request) {
      const jobId = await begin(request);
      if (jobId === undefined) return false;
      await finishJob(request, jobId);
      return true;
    },
    async erase(request) {
      const jobId = await database.transaction(async (tx) => {
        if (await isDeactivatedAccount(tx, request.accountId)) return addJob(tx, { ...request, erase: true });
        throw new MatrixError('M_BAD_STATE', 'Only a deactivated account can be erased');
      });
      if (jobId === undefined) throw new MatrixError('M_LIMIT_EXCEEDED', 'The account is just being deactivated');
      jobs.wake();
      await finishJob(request, jobId);
    },
    async deactivateOwn({ accountId, userId }, { erase }) {
      await begin({ accountId, userId, erase, redact: false, requestedBy: userId });
    },
  };
}

function readParams({ params }: Job): Params {
  const { userId, accountId, erase, redact, upTo } = params;
  // Written by `addJob`.
  return {
    userId: userId as UserId,
    accountId: Number(accountId),
    erase: erase === true,
    redact: redact === true,
    upTo: Number(upTo),
  };
}

function nextPhase(phase: Phase): Phase {
  return PHASES[PHASES.indexOf(phase) + 1] ?? phase;
}

function add(progress: JsonObject, counts: Readonly<Record<string, number>>): JsonObject {
  const sums = Object.entries(counts).map(([name, count]) => [name, Number(progress[name] ?? 0) + count]);
  return { ...progress, ...Object.fromEntries(sums) };
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
