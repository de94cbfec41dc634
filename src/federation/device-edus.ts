/**
 * EDUs that must not be lost: messages to our devices, and news of devices and signing keys of users elsewhere. A server
 * speaks for its own users only; what is anything else is left out. Pure; what is read here is stored with the answer to
 * the transaction that it came in.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#end-to-end-encryption
 */
import { localpartOf, parseUserId, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import { isJsonObject } from '../protocol/json-value.ts';
import type { JsonObject, JsonValue } from '../protocol/pdu.ts';
import type { Transaction } from '../storage/database.ts';
import {
  insertReceivedMessages,
  type ReceivedDeviceUpdate,
  type ReceivedMessage,
  type ReceivedSigningKeys,
  upsertReceivedSigningKeys,
  upsertReceivedUpdates,
} from '../storage/received-devices.ts';

export interface DeviceEdus {
  readonly messages: readonly ReceivedMessage[];
  readonly updates: readonly ReceivedDeviceUpdate[];
  readonly signingKeys: readonly ReceivedSigningKeys[];
}

export interface DeviceEdusOf {
  readonly origin: ServerName;
  /** This server: messages are for its users. */
  readonly serverName: ServerName;
}

/** Messages of one transaction, whose size bounds their text. */
const MAX_MESSAGES = 5_000;
/** Of one message or one device's keys, as JSON; no EDU is larger. */
const MAX_CONTENT = 64 * 1024;
/** Of device ids, types and message ids. */
const MAX_NAME = 255;

export function readDeviceEdus(of: DeviceEdusOf, edus: readonly JsonValue[]): DeviceEdus {
  const messages: ReceivedMessage[] = [];
  const updates: ReceivedDeviceUpdate[] = [];
  const signingKeys: ReceivedSigningKeys[] = [];
  for (const edu of edus) {
    const { edu_type: type, content } = isJsonObject(edu) ? edu : {};
    if (!isJsonObject(content)) continue;
    if (type === 'm.direct_to_device') messages.push(...readMessages(of, content));
    if (type === 'm.device_list_update') updates.push(...readUpdate(of, content));
    if (type === 'm.signing_key_update') signingKeys.push(...readSigningKeys(of, content));
  }
  return { messages: messages.slice(0, MAX_MESSAGES), updates, signingKeys };
}

export async function storeDeviceEdus(tx: Transaction, edus: DeviceEdus, receivedAt: number): Promise<void> {
  await Promise.all([
    insertReceivedMessages(tx, edus.messages, receivedAt),
    upsertReceivedUpdates(tx, edus.updates, receivedAt),
    upsertReceivedSigningKeys(tx, edus.signingKeys, receivedAt),
  ]);
}

function* readMessages({ origin, serverName }: DeviceEdusOf, content: JsonObject): IterableIterator<ReceivedMessage> {
  const sender = userOf(content['sender'], origin);
  const [type, messageId] = [nameIn(content['type']), nameIn(content['message_id'])];
  const { messages } = content;
  if (sender === undefined || type === undefined || messageId === undefined || !isJsonObject(messages)) return;
  for (const [user, byDevice] of Object.entries(messages)) {
    const userId = userOf(user, serverName);
    if (userId === undefined || !isJsonObject(byDevice)) continue;
    for (const [device, message] of Object.entries(byDevice)) {
      const deviceId = nameIn(device);
      const text = isJsonObject(message) ? textOf(message) : undefined;
      if (deviceId === undefined || text === undefined) continue;
      yield { localpart: localpartOf(userId), deviceId, sender, type, messageId, content: text };
    }
  }
}

function readUpdate({ origin }: DeviceEdusOf, content: JsonObject): readonly ReceivedDeviceUpdate[] {
  const userId = userOf(content['user_id'], origin);
  const deviceId = nameIn(content['device_id']);
  const streamId = content['stream_id'];
  const text = textOf(content);
  if (userId === undefined || deviceId === undefined || text === undefined) return [];
  if (typeof streamId !== 'number' || !Number.isSafeInteger(streamId)) return [];
  return [{ userId, deviceId, streamId, content: text }];
}

function readSigningKeys({ origin }: DeviceEdusOf, content: JsonObject): readonly ReceivedSigningKeys[] {
  const userId = userOf(content['user_id'], origin);
  const text = textOf(content);
  return userId === undefined || text === undefined ? [] : [{ userId, content: text }];
}

function userOf(value: JsonValue | undefined, server: ServerName): UserId | undefined {
  const userId = typeof value === 'string' ? parseUserId(value) : undefined;
  return userId !== undefined && serverNameOf(userId) === server ? userId : undefined;
}

/** PostgreSQL's text holds no NUL. */
function nameIn(value: JsonValue | undefined): string | undefined {
  const isName = typeof value === 'string' && value !== '' && value.length <= MAX_NAME && !value.includes('\0');
  return isName ? value.toWellFormed() : undefined;
}

/** JSON writes NUL as an escape. */
function textOf(value: JsonObject): string | undefined {
  const text = JSON.stringify(value);
  return text.length > MAX_CONTENT ? undefined : text;
}
