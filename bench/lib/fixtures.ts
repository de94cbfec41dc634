/**
 * Accounts and rooms that several scenarios use, each made once, when first asked for.
 */
import { randomBytes } from 'node:crypto';
import type { Account, Api } from './api.ts';
import type { Recorder } from './bench.ts';
import { runLoad } from './load.ts';

interface Crowd {
  readonly owner: Account;
  readonly roomId: string;
  readonly memberCount: number;
}

export interface Fixtures {
  /** Registers accounts that nobody has used yet, and keeps them for `accounts`. */
  registerAccounts(count: number, record?: Recorder): Promise<void>;
  /** The first `count` accounts. */
  accounts(count: number): Promise<readonly Account[]>;
  account(index: number): Promise<Account>;
  /** A public room that 160 accounts joined, 8 at once; `measureJoins` wraps the joins of the first call. */
  crowd(measureJoins?: (join: (record?: Recorder) => Promise<void>) => Promise<void>): Promise<Crowd>;
  /** An account in 100 rooms with 10 messages each, which has never synced. */
  busyAccount(): Promise<Account>;
}

const CROWD_JOINS = 160;
export const BUSY_ROOMS = 100;
const BUSY_ROOM_MESSAGES = 10;
const AT_ONCE = 8;
/** The busy account is nobody whom other scenarios use, or its sync would carry their rooms. */
const BUSY_ACCOUNT_INDEX = CROWD_JOINS + 2;

export function createFixtures(api: Api): Fixtures {
  const prefix = `b${randomBytes(4).toString('hex')}`;
  const pool: Account[] = [];
  let crowd: Promise<Crowd> | undefined;
  let busy: Promise<Account> | undefined;
  const fixtures: Fixtures = {
    async registerAccounts(count, record) {
      const first = pool.length;
      const register = async (index: number): Promise<void> => {
        pool[first + index] = await api.register(`${prefix}-${first + index}`);
      };
      await runLoad({ operations: count, atOnce: AT_ONCE }, register, record);
    },
    async accounts(count) {
      if (pool.length < count) await fixtures.registerAccounts(count - pool.length);
      return pool.slice(0, count);
    },
    async account(index) {
      const found = (await fixtures.accounts(index + 1))[index];
      if (found === undefined) throw new Error(`no account ${index}`);
      return found;
    },
    crowd(measureJoins = (join) => join()) {
      crowd ??= fillCrowd(api, fixtures, measureJoins);
      return crowd;
    },
    busyAccount() {
      busy ??= fillRooms(api, fixtures);
      return busy;
    },
  };
  return fixtures;
}

async function fillCrowd(
  api: Api,
  fixtures: Fixtures,
  measureJoins: (join: (record?: Recorder) => Promise<void>) => Promise<void>,
): Promise<Crowd> {
  const owner = await fixtures.account(0);
  const joiners = (await fixtures.accounts(CROWD_JOINS + 1)).slice(1);
  const roomId = await api.createRoom(owner, { preset: 'public_chat', name: 'Crowd' });
  await measureJoins((record) =>
    runLoad(
      { operations: joiners.length, atOnce: AT_ONCE },
      (index) => api.join(joiners[index] ?? owner, roomId),
      record,
    ),
  );
  return { owner, roomId, memberCount: joiners.length + 1 };
}

async function fillRooms(api: Api, fixtures: Fixtures): Promise<Account> {
  const owner = await fixtures.account(BUSY_ACCOUNT_INDEX - 1);
  const reader = await fixtures.account(BUSY_ACCOUNT_INDEX);
  const fill = async (index: number): Promise<void> => {
    const roomId = await api.createRoom(owner, { preset: 'public_chat', name: `Busy ${index}` });
    await api.join(reader, roomId);
    for (let message = 0; message < BUSY_ROOM_MESSAGES; message++) {
      await api.sendMessage(owner, roomId, { txnId: `busy-${index}-${message}`, body: `message ${message}` });
    }
  };
  await runLoad({ operations: BUSY_ROOMS, atOnce: AT_ONCE }, fill);
  return reader;
}
