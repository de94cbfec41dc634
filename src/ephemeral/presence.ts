/**
 * Who is there: in memory, with timers of its own, and stored when it changes. Whoever syncs is online, whoever has done
 * nothing for a while is unavailable, and some time after the last sync a user is offline. Each change has a serial, so
 * that a reader asks for what changed after theirs; a serial of another start of the server counts as none.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#presence
 */
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { UserId } from '../protocol/ids.ts';
import type { PresenceState, PresenceStatus } from '../protocol/presence.ts';
import type { Database } from '../storage/database.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { listPresent, loadPresence, type PresenceRow, upsertPresence } from '../storage/presence.ts';
import { receiptStream } from '../storage/receipts.ts';
import type { Hub } from '../streams/hub.ts';

export interface Presence extends AsyncDisposable {
  /** The serial of the last change. */
  readonly serial: number;
  /** A device syncs until the handle is disposed; `offline` leaves the user as they are. */
  startSync(userId: UserId, state: PresenceState): Promise<Disposable>;
  /** What a user says of themselves. */
  set(userId: UserId, status: { readonly state: PresenceState; readonly message: string | undefined }): Promise<void>;
  /** What another server says of a user of its own. */
  setRemote(userId: UserId, status: PresenceStatus): void;
  /** From memory, else the database; undefined for who never was there. */
  load(userId: UserId): Promise<PresenceRow | undefined>;
  /** From memory: those who are there, or were lately. */
  get(userId: UserId): PresenceRow | undefined;
  /** Who changed after the serial; undefined where memory does not reach back so far. */
  getChanged(after: number): readonly UserId[] | undefined;
  /** Everybody who is not offline. */
  listPresent(): readonly UserId[];
  /** Called with those who changed, a moment later: many at once. */
  follow(follower: (userIds: ReadonlySet<UserId>) => void): Disposable;
  /** Writes what changed. */
  flush(): Promise<void>;
}

export interface PresenceOptions {
  readonly database: Database;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a change may wait to be written; Infinity leaves it to `flush`. */
  readonly flushDelayMs?: number;
}

/** As most servers have it: clients show who is away for longer. */
export const IDLE_AFTER_MS = 5 * 60_000;
/** Longer than clients take from one sync to the next. */
export const OFFLINE_AFTER_MS = 30_000;
/** Other servers say it again now and then; of a server that has gone nobody is there for ever. */
const REMOTE_OFFLINE_AFTER_MS = 30 * 60_000;
/** How exactly these are kept. */
export const SWEEP_INTERVAL_MS = 5_000;
/** Changes of one moment reach their readers together. */
const TELL_DELAY_MS = 50;
const FLUSH_DELAY_MS = 1_000;
/** Changes that readers can ask for; who comes with an older serial gets all who are there. */
const MAX_CHANGES = 20_000;
/** Who went offline is remembered for a while, for readers who have not heard. */
const MAX_AWAY = 50_000;

interface Known {
  row: PresenceRow;
  serial: number;
  syncing: number;
  lastSyncAt: number;
  /** A user of another server, which alone says when they are idle. */
  isRemote?: boolean;
  /** Unavailable because nothing was done, and not because a client said so. */
  isIdle: boolean;
}

export function createPresence(options: PresenceOptions): Presence {
  return new PresenceKeeper(options);
}

class PresenceKeeper implements Presence {
  readonly #options: PresenceOptions;
  readonly #present = new Map<UserId, Known>();
  /** In the order in which they went. */
  readonly #away = new Map<UserId, Known>();
  readonly #followers = new Set<(userIds: ReadonlySet<UserId>) => void>();
  readonly #unwritten = new Set<UserId>();
  readonly #timers = new Map<'sweep' | 'tell' | 'flush', Disposable>();
  readonly #started: Promise<void>;
  readonly #following: Disposable;
  #changes: { readonly serial: number; readonly userId: UserId }[] = [];
  #untold = new Set<UserId>();
  #serial = 0;
  /** Changes up to here are forgotten. */
  #forgotten = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
    // Who sends or reads is active.
    this.#following = options.hub.follow((batch) => {
      for (const { row } of batch.rowsOf(pduStream)) this.noteActivity(row.stored.event.sender);
      for (const { row } of batch.rowsOf(receiptStream)) this.noteActivity(row.userId);
    });
    this.#started = this.#start().catch((cause: unknown) => {
      options.logger.warn({ cause }, 'who was there before the start is not known');
    });
  }

  get serial(): number {
    return this.#serial;
  }

  async startSync(userId: UserId, state: PresenceState): Promise<Disposable> {
    if (state === 'offline') return { [Symbol.dispose]: () => undefined };
    const known = await this.#find(userId);
    known.syncing += 1;
    // Where only the server thinks that the user is idle, going on to sync does not show the contrary.
    const isKept = known.row.state === state || (known.isIdle && state === 'online');
    if (!isKept) {
      const isBack = state === 'online';
      this.#change(known, { state, ...(isBack && { lastActiveAt: this.#options.clock.now() }) });
    }
    let isOver = false;
    return {
      [Symbol.dispose]: () => {
        if (isOver) return;
        isOver = true;
        known.syncing -= 1;
        known.lastSyncAt = this.#options.clock.now();
      },
    };
  }

  async set(userId: UserId, { state, message }: Parameters<Presence['set']>[1]): Promise<void> {
    const known = await this.#find(userId);
    this.#change(known, { state, statusMessage: message, lastActiveAt: this.#options.clock.now() });
  }

  setRemote(userId: UserId, { state, statusMessage, lastActiveAt }: PresenceStatus): void {
    const before: PresenceRow = { userId, state: 'offline', statusMessage: undefined, lastActiveAt };
    const known = this.#present.get(userId) ??
      this.#away.get(userId) ?? { row: before, serial: 0, syncing: 0, lastSyncAt: 0, isIdle: false };
    known.isRemote = true;
    // As if they had synced until then.
    known.lastSyncAt = this.#options.clock.now() + REMOTE_OFFLINE_AFTER_MS - OFFLINE_AFTER_MS;
    this.#change(known, { state, statusMessage, lastActiveAt });
  }

  /** The user did something. */
  noteActivity(userId: UserId): void {
    const known = this.#present.get(userId);
    if (known === undefined) return;
    const lastActiveAt = this.#options.clock.now();
    if (known.isIdle) this.#change(known, { state: 'online', lastActiveAt });
    else known.row = { ...known.row, lastActiveAt };
  }

  async load(userId: UserId): Promise<PresenceRow | undefined> {
    await this.#started;
    return this.get(userId) ?? loadPresence(this.#options.database, userId);
  }

  get(userId: UserId): PresenceRow | undefined {
    return (this.#present.get(userId) ?? this.#away.get(userId))?.row;
  }

  getChanged(after: number): readonly UserId[] | undefined {
    if (after >= this.#serial) return [];
    if (after < this.#forgotten) return undefined;
    const first = this.#changes.findIndex(({ serial }) => serial > after);
    return first === -1 ? [] : [...new Set(this.#changes.slice(first).map(({ userId }) => userId))];
  }

  listPresent(): readonly UserId[] {
    return [...this.#present.keys()];
  }

  follow(follower: (userIds: ReadonlySet<UserId>) => void): Disposable {
    this.#followers.add(follower);
    return { [Symbol.dispose]: () => this.#followers.delete(follower) };
  }

  async flush(): Promise<void> {
    this.#stop('flush');
    const rows = [...this.#unwritten].map((userId) => this.get(userId)).filter((row) => row !== undefined);
    this.#unwritten.clear();
    if (rows.length === 0) return;
    try {
      await upsertPresence(this.#options.database, rows);
    } catch (cause) {
      for (const { userId } of rows) this.#unwritten.add(userId);
      throw cause;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#started;
    this.#following[Symbol.dispose]();
    for (const name of [...this.#timers.keys()]) this.#stop(name);
    await this.flush().catch((cause: unknown) => this.#options.logger.warn({ cause }, 'could not store presence'));
  }

  /** Who was there goes offline soon, unless they come back. */
  async #start(): Promise<void> {
    const now = this.#options.clock.now();
    for (const row of await listPresent(this.#options.database)) {
      if (this.#present.has(row.userId)) continue;
      this.#present.set(row.userId, { row, serial: 0, syncing: 0, lastSyncAt: now, isIdle: false });
    }
    if (this.#present.size > 0) this.#schedule('sweep', SWEEP_INTERVAL_MS, () => this.#sweep());
  }

  async #find(userId: UserId): Promise<Known> {
    await this.#started;
    const known = this.#present.get(userId) ?? this.#away.get(userId);
    if (known !== undefined) return known;
    const stored = await loadPresence(this.#options.database, userId);
    // Somebody else may have asked meanwhile.
    const meanwhile = this.#present.get(userId) ?? this.#away.get(userId);
    if (meanwhile !== undefined) return meanwhile;
    const row = stored ?? {
      userId,
      state: 'offline',
      statusMessage: undefined,
      lastActiveAt: this.#options.clock.now(),
    };
    const found = { row, serial: 0, syncing: 0, lastSyncAt: 0, isIdle: false };
    this.#away.set(userId, found);
    return found;
  }

  #change(known: Known, change: Partial<PresenceRow>): void {
    const before = known.row;
    known.row = { ...before, ...change };
    known.isIdle = false;
    const { userId, state, statusMessage } = known.row;
    if (state === before.state && statusMessage === before.statusMessage) return;
    this.#serial += 1;
    known.serial = this.#serial;
    this.#changes.push({ serial: this.#serial, userId });
    this.#forgetOldest();
    this.#present.delete(userId);
    this.#away.delete(userId);
    (state === 'offline' ? this.#away : this.#present).set(userId, known);
    this.#untold.add(userId);
    this.#unwritten.add(userId);
    this.#schedule('tell', TELL_DELAY_MS, () => this.#tell());
    this.#schedule('flush', this.#options.flushDelayMs ?? FLUSH_DELAY_MS, () => this.#flushInBackground());
    this.#schedule('sweep', SWEEP_INTERVAL_MS, () => this.#sweep());
  }

  #forgetOldest(): void {
    // Dropping in large steps keeps the cost per change constant.
    if (this.#changes.length > MAX_CHANGES) {
      this.#forgotten = this.#changes[MAX_CHANGES / 2 - 1]?.serial ?? this.#forgotten;
      this.#changes = this.#changes.slice(MAX_CHANGES / 2);
    }
    for (const [userId, { syncing }] of this.#away) {
      if (this.#away.size <= MAX_AWAY) return;
      if (syncing === 0 && !this.#unwritten.has(userId)) this.#away.delete(userId);
    }
  }

  #tell(): void {
    const userIds = this.#untold;
    this.#untold = new Set();
    for (const follower of this.#followers) follower(userIds);
  }

  #sweep(): void {
    const now = this.#options.clock.now();
    for (const known of [...this.#present.values()]) {
      const { row, syncing, lastSyncAt } = known;
      const isGone = syncing === 0 && now - Math.max(lastSyncAt, row.lastActiveAt) > OFFLINE_AFTER_MS;
      if (isGone) this.#change(known, { state: 'offline' });
      else if (known.isRemote !== true && row.state === 'online' && now - row.lastActiveAt > IDLE_AFTER_MS) {
        this.#change(known, { state: 'unavailable' });
        known.isIdle = true;
      }
    }
    if (this.#present.size > 0) this.#schedule('sweep', SWEEP_INTERVAL_MS, () => this.#sweep());
  }

  #flushInBackground(): void {
    this.flush().catch((cause: unknown) => {
      this.#options.logger.warn({ cause }, 'could not store presence; trying again');
      this.#schedule('flush', this.#options.flushDelayMs ?? FLUSH_DELAY_MS, () => this.#flushInBackground());
    });
  }

  #schedule(name: 'sweep' | 'tell' | 'flush', delay: number, work: () => void): void {
    if (this.#timers.has(name) || !Number.isFinite(delay)) return;
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(name);
      work();
    });
    this.#timers.set(name, timer);
  }

  #stop(name: 'sweep' | 'tell' | 'flush'): void {
    this.#timers.get(name)?.[Symbol.dispose]();
    this.#timers.delete(name);
  }
}
