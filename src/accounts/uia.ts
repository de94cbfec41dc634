/**
 * User-interactive authentication. A session belongs to one request: who asks, which operation, which body. It remembers
 * what has been proved, is finished at most once, and holds no secret.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
 */
import { createHmac } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { encodeCanonicalJson } from '../protocol/canonical-json.ts';
import { MatrixError } from '../protocol/errors.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Database, Transaction } from '../storage/database.ts';
import {
  deleteExpiredUiaSessions,
  deleteUiaSession,
  loadUiaSession,
  saveUiaSession,
  type UiaSession,
} from '../storage/uia-sessions.ts';
import { createSecret, hashSecret } from './tokens.ts';

/** What a stage found out; a registration token stays with the session until the registration spends it. */
export interface StageResult {
  readonly registrationToken?: string;
}

/** Checks one stage; throws a MatrixError when the client failed it. */
export interface Stage {
  /** Before the transaction: what is slow or needs none. */
  verify?(auth: JsonObject): Promise<void>;
  /** In the transaction that records the stage as completed. */
  claim?(tx: Transaction, auth: JsonObject, sessionHash: string): Promise<StageResult>;
}

export interface UiaRequest {
  /** Method and path with its parameters: what the session is good for. */
  readonly operation: string;
  /** Who asks; undefined while registering. */
  readonly owner: { readonly accountId: number; readonly deviceId: string } | undefined;
  /** The whole body, with `auth`. */
  readonly body: JsonObject;
  /** Alternatives, each a list of stages. */
  readonly flows: readonly (readonly string[])[];
  readonly stages: Readonly<Record<string, Stage>>;
}

/** Either everything is proved, or the body of a 401 answer that says what is missing. */
export type UiaOutcome =
  | { readonly done: true; readonly registrationToken: string | undefined }
  | { readonly done: false; readonly challenge: JsonObject };

/** A stage that is passed on a page of ours, by whoever knows the session's id. */
export interface PageAttempt {
  readonly sessionId: string;
  readonly type: string;
  readonly stage: Stage;
  readonly auth: JsonObject;
}

export interface Uia {
  authorize(request: UiaRequest): Promise<UiaOutcome>;
  /** For sessions of registrations: the client then sends its request once more, with the session alone as proof. */
  completeOnPage(attempt: PageAttempt): Promise<void>;
}

/** Time to read a mail and come back. */
const SESSION_LIFETIME_MS = 60 * 60 * 1000;
const CLEAN_UP_INTERVAL_MS = 60_000;

interface OpenSession {
  /** The client's secret. */
  readonly id: string;
  readonly state: UiaSession;
}

interface UiaOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
}

export function createUia(options: UiaOptions): Uia {
  const { database, clock } = options;
  let cleanedAt = Number.NEGATIVE_INFINITY;

  const cleanUp = async (): Promise<void> => {
    const now = clock.monotonic();
    if (now - cleanedAt < CLEAN_UP_INTERVAL_MS) return;
    cleanedAt = now;
    await deleteExpiredUiaSessions(database, clock.now());
  };
  const challengeAnew = async (request: UiaRequest, error?: MatrixError): Promise<UiaOutcome> => {
    await cleanUp();
    const session = startSession(options, request);
    await saveUiaSession(database, session.state);
    return challenge(request, session, error);
  };
  const attemptStage = async (request: UiaRequest, auth: JsonObject, known: OpenSession | undefined) => {
    const fail = (error?: MatrixError): Promise<UiaOutcome> =>
      known === undefined ? challengeAnew(request, error) : Promise.resolve(challenge(request, known, error));
    if (auth['type'] === undefined) {
      return known !== undefined && isComplete(request, known.state) ? finish(options, request, known.id) : fail();
    }
    const offered = findStage(request, auth['type']);
    if (offered === undefined) {
      return fail(new MatrixError('M_UNRECOGNIZED', 'This authentication type is not offered here'));
    }
    try {
      await offered.stage.verify?.(auth);
      return await complete(options, request, { ...offered, auth, sessionId: known?.id });
    } catch (error) {
      if (error instanceof FailedStageError) return fail(error);
      throw error;
    }
  };

  return {
    async authorize(request) {
      const { auth } = request.body;
      if (!isJsonObject(auth)) return challengeAnew(request);
      const { session: id } = auth;
      if (typeof id !== 'string') return attemptStage(request, auth, undefined);
      const known = await resume(options, database, { id, request });
      if (known !== undefined) return attemptStage(request, auth, known);
      return challengeAnew(request, new MatrixError('M_UNKNOWN', 'The session is unknown or has expired'));
    },
    completeOnPage: (attempt) => completeOnPage(options, attempt),
  };
}

/** The client did not pass the stage: answered with 401 and the session, so that it can try again. */
export class FailedStageError extends MatrixError {}

interface Attempt {
  readonly type: string;
  readonly stage: Stage;
  readonly auth: JsonObject;
  readonly sessionId: string | undefined;
}

function startSession({ clock, random }: UiaOptions, request: UiaRequest): OpenSession {
  const id = createSecret(random);
  const state: UiaSession = {
    sessionHash: hashSecret(id),
    accountId: request.owner?.accountId,
    deviceId: request.owner?.deviceId,
    operation: request.operation,
    bodyMac: computeBodyMac(id, request.body),
    completed: [],
    registrationToken: undefined,
    expiresAt: clock.now() + SESSION_LIFETIME_MS,
  };
  return { id, state };
}

/** The session that the client goes on with; undefined when it is unknown or has expired. */
async function resume(
  { clock }: UiaOptions,
  tx: Transaction,
  asked: { readonly id: string; readonly request: UiaRequest },
): Promise<OpenSession | undefined> {
  const { id, request } = asked;
  const stored = await loadUiaSession(tx, hashSecret(id), clock.now());
  return stored === undefined ? undefined : { id, state: bind(stored, id, request) };
}

function findStage({ flows, stages }: UiaRequest, type: unknown): Pick<Attempt, 'type' | 'stage'> | undefined {
  if (typeof type !== 'string' || !flows.some((flow) => flow.includes(type))) return undefined;
  const stage = Object.hasOwn(stages, type) ? stages[type] : undefined;
  return stage === undefined ? undefined : { type, stage };
}

/** The transaction that records a stage, and ends the session when it was the last one. */
function complete(options: UiaOptions, request: UiaRequest, attempt: Attempt): Promise<UiaOutcome> {
  const { type, stage, auth, sessionId: id } = attempt;
  return options.database.transaction(async (tx) => {
    const session = id === undefined ? startSession(options, request) : await resume(options, tx, { id, request });
    if (session === undefined) throw new MatrixError('M_FORBIDDEN', 'The session has just ended');
    const { sessionHash } = session.state;
    const result = await stage.claim?.(tx, auth, sessionHash);
    const state: UiaSession = {
      ...session.state,
      completed: [...new Set([...session.state.completed, type])],
      registrationToken: result?.registrationToken ?? session.state.registrationToken,
    };
    if (isComplete(request, state)) {
      await deleteUiaSession(tx, sessionHash);
      return { done: true, registrationToken: state.registrationToken };
    }
    await saveUiaSession(tx, state);
    return challenge(request, { id: session.id, state });
  });
}

function isComplete({ flows }: UiaRequest, { completed }: UiaSession): boolean {
  return flows.some((flow) => flow.every((step) => completed.includes(step)));
}

/** Everything was proved before, on pages. */
function finish(options: UiaOptions, request: UiaRequest, id: string): Promise<UiaOutcome> {
  return options.database.transaction(async (tx) => {
    const session = await resume(options, tx, { id, request });
    if (session === undefined) throw new MatrixError('M_FORBIDDEN', 'The session has just ended');
    await deleteUiaSession(tx, session.state.sessionHash);
    return { done: true, registrationToken: session.state.registrationToken };
  });
}

async function completeOnPage({ database, clock }: UiaOptions, attempt: PageAttempt): Promise<void> {
  const { sessionId, type, stage, auth } = attempt;
  await stage.verify?.(auth);
  await database.transaction(async (tx) => {
    const session = await loadUiaSession(tx, hashSecret(sessionId), clock.now());
    if (session === undefined || session.accountId !== undefined) {
      throw new FailedStageError('M_UNKNOWN', 'The session is unknown or has expired', { status: 401 });
    }
    const result = await stage.claim?.(tx, auth, session.sessionHash);
    const completed = [...new Set([...session.completed, type])];
    const registrationToken = result?.registrationToken ?? session.registrationToken;
    await saveUiaSession(tx, { ...session, completed, registrationToken });
  });
}

/** Refuses a session that was opened for something else. An empty body only asked for the flows and binds nothing. */
function bind(session: UiaSession, id: string, request: UiaRequest): UiaSession {
  const { owner, operation, body } = request;
  const isSameUser = session.accountId === owner?.accountId && session.deviceId === owner?.deviceId;
  const mac = computeBodyMac(id, body);
  const isSameBody = session.bodyMac === undefined || session.bodyMac === mac;
  if (isSameUser && session.operation === operation && isSameBody) return { ...session, bodyMac: mac };
  throw new MatrixError('M_FORBIDDEN', 'This session was opened for another request');
}

/** Keyed by the session's id, which is stored nowhere: the MAC tells nothing about a password in the body. */
function computeBodyMac(id: string, body: JsonObject): string | undefined {
  const { auth: _auth, ...rest } = body;
  if (Object.keys(rest).length === 0) return undefined;
  return createHmac('sha256', id).update(encodeCanonicalJson(rest)).digest('base64url');
}

function challenge(request: UiaRequest, session: OpenSession, error?: MatrixError): UiaOutcome {
  const body: JsonObject = {
    session: session.id,
    flows: request.flows.map((stages) => ({ stages })),
    params: {},
    completed: session.state.completed,
  };
  return { done: false, challenge: error === undefined ? body : { ...body, ...error.toBody() } };
}
