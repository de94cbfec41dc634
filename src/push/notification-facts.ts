/**
 * What the follower of notifications does with each fact of the stream: events are held against the push rules, joins
 * start a count, redactions take notifications back, receipts and personal rules change what comes after.
 */
import type { Clock } from '../lib/clock.ts';
import type { ServerName, UserId } from '../protocol/ids.ts';
import { type AccountDataRow, accountDataStream } from '../storage/account-data.ts';
import type { Database } from '../storage/database.ts';
import type { TimelineEvent } from '../storage/events.ts';
import { loadNotification, type Notification } from '../storage/notifications.ts';
import { type OutsideMembership, outsideStream } from '../storage/outside-memberships.ts';
import { pduStream } from '../storage/pdu-stream.ts';
import { type ReceiptRow, receiptStream } from '../storage/receipts.ts';
import type { Redacted } from '../storage/stream-events.ts';
import type { CommittedBatch } from '../streams/batch.ts';
import { evaluateEvent } from './evaluate-event.ts';
import type { NotificationLog } from './notification-log.ts';
import type { NotificationWriter } from './notification-writer.ts';
import { createOutsideRoom, readOutsideEvent } from './outside-room.ts';
import type { PersonalRules } from './personal-rules.ts';
import type { PushRoomState, PushRooms } from './types.ts';
import type { Unread } from './unread.ts';

export type Fact =
  | {
      readonly kind: 'event';
      readonly position: number;
      readonly event: TimelineEvent;
      /** Where the event stands that this redaction took effect on, if that is known already. */
      readonly redacted?: Redacted | undefined;
      /** That event's id. */
      readonly redacts?: TimelineEvent['event']['eventId'] | undefined;
    }
  | { readonly kind: 'receipt'; readonly position: number; readonly row: ReceiptRow }
  | { readonly kind: 'account_data'; readonly position: number; readonly row: AccountDataRow }
  | { readonly kind: 'outside'; readonly position: number; readonly row: OutsideMembership };

/** The facts of a batch that matter here, in order. */
export function factsOf(batch: CommittedBatch): readonly Fact[] {
  const events = batch.rowsOf(pduStream).map(
    ({ position, row }): Fact => ({
      kind: 'event',
      position,
      event: { ...row.stored, position },
      redacts: row.redacts?.eventId,
    }),
  );
  const receipts = batch.rowsOf(receiptStream);
  const accountData = batch.rowsOf(accountDataStream);
  const outside = batch.rowsOf(outsideStream);
  if (receipts.length === 0 && accountData.length === 0 && outside.length === 0) return events;
  return [
    ...events,
    ...receipts.map(({ position, row }): Fact => ({ kind: 'receipt', position, row })),
    ...accountData.map(({ position, row }): Fact => ({ kind: 'account_data', position, row })),
    ...outside.map(({ position, row }): Fact => ({ kind: 'outside', position, row })),
  ].sort((a, b) => a.position - b.position);
}

export interface FactTakerOptions {
  readonly database: Database;
  readonly rooms: PushRooms;
  readonly serverName: ServerName;
  readonly clock: Clock;
  readonly personalRules: PersonalRules;
  readonly log: NotificationLog;
  readonly unread: Unread;
  readonly writer: NotificationWriter;
  /** Called with each notification, before it is written. */
  readonly onNotified: (notification: Notification, room: PushRoomState) => void;
}

export interface FactTaker {
  take(fact: Fact): Promise<void>;
}

type EventFact = Extract<Fact, { kind: 'event' }>;
type OutsideFact = Extract<Fact, { kind: 'outside' }>;

export function createFactTaker(options: FactTakerOptions): FactTaker {
  const { personalRules, unread } = options;
  return {
    async take(fact) {
      if (fact.kind === 'receipt') unread.read(fact.row, fact.position);
      else if (fact.kind === 'account_data') personalRules.apply(fact.row);
      else if (fact.kind === 'outside') await takeOutside(options, fact);
      else await takeEvent(options, fact);
    },
  };
}

async function takeEvent(options: FactTakerOptions, fact: EventFact): Promise<void> {
  const { rooms, log, unread, writer } = options;
  const { event, position } = fact;
  if (fact.redacts !== undefined || fact.redacted !== undefined) await takeBack(options, fact);
  if (event.sidelined === true && !(await isCurrent(rooms, event))) return;
  const start = startOf(event, options.serverName);
  if (start !== undefined) {
    unread.join(start);
    writer.addStart(start);
  }
  // What was redacted since notifies nobody any more.
  if (event.redactedBecause !== undefined) return;
  const { roomId } = event.event;
  const room = rooms.getSnapshot(roomId) ?? (await rooms.loadSnapshot(roomId));
  const notification =
    room === undefined ? undefined : await evaluateEvent(options, { event: event.event, position }, room);
  if (room === undefined || notification === undefined) return;
  log.append({ position, weight: 1, notification });
  writer.addNotification(notification);
  options.onNotified(notification, room);
}

/** An invite to a room that this server is not in; what else becomes of one notifies nobody. */
async function takeOutside(options: FactTakerOptions, { row, position }: OutsideFact): Promise<void> {
  if (row.membership !== 'invite') return;
  const placed = { ...row, position };
  const room = createOutsideRoom(placed);
  const notification = await evaluateEvent(options, { event: readOutsideEvent(placed), position }, room);
  if (notification === undefined) return;
  options.writer.addNotification(notification);
  options.onNotified(notification, room);
}

/** A state event that lost against another one on its fork notifies nobody, and nobody came into the room by it. */
async function isCurrent(rooms: PushRooms, { event }: TimelineEvent): Promise<boolean> {
  const { roomId, type, stateKey = '', eventId } = event;
  const room = rooms.getSnapshot(roomId) ?? (await rooms.loadSnapshot(roomId));
  return room?.get(type, stateKey)?.eventId === eventId;
}

/** Where a local user comes into a room, as opposed to changing their profile in it. */
function startOf({ event, replaces, position }: TimelineEvent, serverName: ServerName) {
  const { type, stateKey, content, roomId } = event;
  if (type !== 'm.room.member' || stateKey?.endsWith(`:${serverName}`) !== true) return undefined;
  if (content['membership'] !== 'join' || replaces?.content['membership'] === 'join') return undefined;
  // A membership event was accepted, so its state key is a user id.
  return { roomId, userId: stateKey as UserId, position };
}

async function takeBack(options: FactTakerOptions, fact: EventFact): Promise<void> {
  const { log, writer } = options;
  const notification = await findNotification(options, fact);
  if (notification === undefined) return;
  log.append({ position: fact.position, weight: -1, notification });
  writer.addRemoved(notification);
}

async function findNotification({ log, rooms, database, writer }: FactTakerOptions, fact: EventFact) {
  const { roomId } = fact.event.event;
  const recent = fact.redacts === undefined ? undefined : log.find(roomId, fact.redacts);
  if (recent !== undefined) return recent;
  const target =
    fact.redacted ?? (fact.redacts === undefined ? undefined : await rooms.loadEvent(roomId, fact.redacts));
  if (target === undefined) return undefined;
  await writer.flush();
  return loadNotification(database, roomId, target.position);
}
