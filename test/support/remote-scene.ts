/**
 * A room of ours with a scripted remote server in it: what most tests of receiving begin with.
 */
import assert from 'node:assert/strict';
import type { RemoteRooms } from '../../src/engine/ports.ts';
import type { RoomId, UserId } from '../../src/protocol/ids.ts';
import type { Event, JsonValue } from '../../src/protocol/pdu.ts';
import { type Statement, sql } from '../../src/storage/sql.ts';
import { createPublicRoom, createTestEngine, type TestEngine, versionOf } from './engine.ts';
import { createReceiving, type Keys, nobody, type Receiving } from './receiver.ts';
import { RemoteRoom, RemoteServer } from './remote-room.ts';

export const remote = new RemoteServer('remote.example');
export const EVE: UserId = remote.user('eve');
export const MALLORY: UserId = remote.user('mallory');

export interface Scene extends AsyncDisposable {
  readonly at: TestEngine;
  readonly room: RemoteRoom;
  readonly roomId: RoomId;
  readonly keys: Keys;
  readonly receiving: Receiving;
  /** Whom the engine asks; nobody unless a test says otherwise. */
  answers: RemoteRooms;
  receive(...events: readonly (Event | JsonValue)[]): Promise<readonly string[]>;
}

/** A public room of ours in which the remote server's Eve is. */
export async function createScene(version = '12'): Promise<Scene> {
  const at = await createTestEngine();
  const roomId = await createPublicRoom(at, version);
  const room = new RemoteRoom(remote, { roomId, version: versionOf(version) });
  await room.learnFrom(at);
  const keys = new Map([
    [remote.name, remote.key],
    [at.serverName, at.signingKey],
  ]);
  const asked: RemoteRooms = {
    fetchMissingEvents: (request) => scene.answers.fetchMissingEvents(request),
    fetchStateIds: (request) => scene.answers.fetchStateIds(request),
    fetchState: (request) => scene.answers.fetchState(request),
    fetchEvent: (request) => scene.answers.fetchEvent(request),
    fetchBackfill: (request) => scene.answers.fetchBackfill(request),
  };
  const receiving = createReceiving(at, keys, asked);
  const receive = (...events: readonly (Event | JsonValue)[]) => receiving.receive(roomId, remote.name, ...events);
  const dispose = () => at[Symbol.asyncDispose]();
  const scene: Scene = { at, room, roomId, keys, receiving, receive, answers: nobody, [Symbol.asyncDispose]: dispose };
  assert.deepEqual(await receive(room.member(EVE, 'join')), ['accepted']);
  return scene;
}

export async function timelineOf({ at, roomId }: Scene): Promise<readonly string[]> {
  const snapshot = await at.engine.loadSnapshot(roomId);
  assert.ok(snapshot);
  const range = { roomId, version: snapshot.version, after: 0, before: Number.MAX_SAFE_INTEGER, limit: 1000 };
  const events = await at.engine.loadTimeline({ ...range, direction: 'forward' });
  return events.filter(({ isStateChange }) => isStateChange !== true).map(({ event }) => event.eventId);
}

export async function extremitiesOf({ at, roomId }: Scene): Promise<readonly string[]> {
  return (await at.engine.loadSnapshot(roomId))?.parts.extremities.map(({ eventId }) => eventId) ?? [];
}

export interface StoredRow {
  readonly position: number | null;
  readonly outlier: boolean;
  readonly soft_failed: boolean;
  readonly rejection: string | null;
}

export async function storedAs({ at }: Scene, { eventId }: Pick<Event, 'eventId'>): Promise<StoredRow | undefined> {
  const statement: Statement<StoredRow> = sql`
    select position, outlier, soft_failed, rejection from events where event_id = ${eventId}`;
  return (await at.db.database.query(statement))[0];
}
