/**
 * An engine on a real database, without HTTP: what storage and engine tests drive. `restart` gives a second engine that
 * knows only what the first one committed.
 */
import { createRoomEngine, type WritableRoomEngine } from '../../src/engine/room-engine.ts';
import type { CreateRoomRequest, EventTemplate } from '../../src/engine/types.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { secureRandom } from '../../src/lib/random.ts';
import type { RoomId, ServerName, UserId } from '../../src/protocol/ids.ts';
import { getRoomVersion, type RoomVersion } from '../../src/protocol/room-version.ts';
import { createSigningKey, type SigningKey } from '../../src/protocol/signing.ts';
import { createPipeline } from '../../src/storage/pipeline.ts';
import { loadWriterPosition, saveWriterPosition } from '../../src/storage/rooms.ts';
import { Committer } from '../../src/streams/committer.ts';
import { createHub, type Hub } from '../../src/streams/hub.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export const SERVER = 'test.example' as ServerName;
export const ALICE = '@alice:test.example' as UserId;
export const BOB = '@bob:test.example' as UserId;

export interface TestEngine extends AsyncDisposable {
  readonly engine: WritableRoomEngine;
  readonly serverName: ServerName;
  readonly signingKey: SigningKey;
  readonly committer: Committer;
  readonly hub: Hub;
  readonly db: TestDatabase;
  /** Another engine on the same database; this one writes no more. */
  restart(): Promise<TestEngine>;
}

export async function createTestEngine(serverName = SERVER): Promise<TestEngine> {
  const db = await createTestDatabase();
  return startEngine(db, { serverName, signingKey: createSigningKey(secureRandom.bytes(32), 'test') });
}

async function startEngine(
  db: TestDatabase,
  identity: { readonly serverName: ServerName; readonly signingKey: SigningKey },
): Promise<TestEngine> {
  const pipeline = await createPipeline({ connection: db.connection, lock: false });
  const hub = createHub({
    onFollowerError: (cause) => {
      throw cause;
    },
  });
  const committer = new Committer({
    pipeline,
    writerId: 1,
    position: await loadWriterPosition(db.database, 1),
    loadPosition: () => loadWriterPosition(db.database, 1),
    savePosition: saveWriterPosition,
    publish: (batch) => hub.publish(batch),
    clock: systemClock,
  });
  const engine = createRoomEngine({
    database: db.database,
    committer,
    hub,
    clock: systemClock,
    random: secureRandom,
    ...identity,
    maxRoomBytes: 100_000_000,
  });
  const stop = async (): Promise<void> => {
    await committer[Symbol.asyncDispose]();
    await pipeline[Symbol.asyncDispose]();
  };
  return {
    engine,
    ...identity,
    committer,
    hub,
    db,
    async restart() {
      await stop();
      return startEngine(db, identity);
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await db.drop();
    },
  };
}

export function versionOf(id: string): RoomVersion {
  const version = getRoomVersion(id);
  if (version === undefined) throw new Error(`no room version ${id}`);
  return version;
}

export const member = (userId: UserId, membership: string, sender = userId): EventTemplate => ({
  type: 'm.room.member',
  sender,
  stateKey: userId,
  content: { membership },
});

export const message = (body: string, sender = ALICE): EventTemplate => ({
  type: 'm.room.message',
  sender,
  content: { msgtype: 'm.text', body },
});

export const state = (type: string, content: EventTemplate['content'], sender = ALICE): EventTemplate => ({
  type,
  sender,
  stateKey: '',
  content,
});

/** A public room of Alice's. */
export async function createPublicRoom({ engine }: TestEngine, version = '12'): Promise<RoomId> {
  const request: CreateRoomRequest = {
    version: versionOf(version),
    creator: ALICE,
    creationContent: {},
    isPublic: false,
    events: () => [
      member(ALICE, 'join'),
      state('m.room.power_levels', version === '12' ? {} : { users: { [ALICE]: 100 } }),
      state('m.room.join_rules', { join_rule: 'public' }),
      state('m.room.history_visibility', { history_visibility: 'shared' }),
    ],
  };
  return (await engine.createRoom(request)).roomId;
}
