/**
 * Senders that write as fast as they are answered until the server dies under them, and a ledger of what each was
 * told: which transaction got which event id, and which was left without an answer.
 */
import type { MatrixClient } from '../support/matrix-client.ts';

export interface Attempt {
  readonly roomId: string;
  readonly txnId: string;
  readonly body: string;
  /** Undefined while unanswered. */
  readonly eventId: string | undefined;
}

export interface Sender {
  readonly client: MatrixClient;
  readonly roomId: string;
  readonly attempts: Attempt[];
}

/** Sends until a send fails, which then stands last in the ledger without an event id, or until nobody needs it. */
export async function sendUntilFailure(sender: Sender, round: number, isOver = (): boolean => false): Promise<void> {
  for (let index = 0; !isOver(); index++) {
    const txnId = `round${round}-${index}`;
    const attempt = { roomId: sender.roomId, txnId, body: `${sender.client.userId} ${txnId}` };
    const eventId = await sender.client.send(attempt.roomId, txnId, attempt.body).catch(() => undefined);
    sender.attempts.push({ ...attempt, eventId });
    if (eventId === undefined) return;
  }
}

/** Repeats the unanswered attempt with its transaction id, and enters what it was answered. */
export async function retryUnanswered(sender: Sender): Promise<void> {
  const attempt = sender.attempts.at(-1);
  if (attempt === undefined || attempt.eventId !== undefined) return;
  const eventId = await sender.client.send(attempt.roomId, attempt.txnId, attempt.body);
  sender.attempts[sender.attempts.length - 1] = { ...attempt, eventId };
}

export function countAnswered(senders: readonly Sender[]): number {
  return senders.reduce((sum, { attempts }) => sum + attempts.filter(({ eventId }) => eventId !== undefined).length, 0);
}
