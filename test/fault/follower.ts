/**
 * Follows rooms through /sync as a client does, filling each gap through /messages, and keeps every message in the order
 * in which it came. It outlives the server: after a restart it goes on from the token it last got.
 */
import type { MatrixClient, Message, SyncedRoom } from '../support/matrix-client.ts';

export class Follower {
  readonly #client: MatrixClient;
  readonly #timelineLimit: number;
  readonly #messages = new Map<string, Message[]>();
  #since: string;

  constructor(client: MatrixClient, since: string, timelineLimit: number) {
    this.#client = client;
    this.#since = since;
    this.#timelineLimit = timelineLimit;
  }

  /** What came in one room so far, oldest first. */
  messages(roomId: string): readonly Message[] {
    return this.#messages.get(roomId) ?? [];
  }

  /** One sync; its token and messages count only together, and only when all of its gaps were filled. */
  async syncOnce(timeoutMs: number): Promise<boolean> {
    const since = this.#since;
    const answer = await this.#client.sync({ since, timeoutMs, timelineLimit: this.#timelineLimit });
    const filled: [string, Message[]][] = [];
    for (const [roomId, room] of answer.rooms) filled.push([roomId, await this.#fillGap(roomId, room, since)]);
    for (const [roomId, messages] of filled) this.#messages.set(roomId, [...this.messages(roomId), ...messages]);
    this.#since = answer.nextBatch;
    return answer.rooms.size > 0;
  }

  async followUntilFailure(timeoutMs: number): Promise<void> {
    for (;;) {
      try {
        await this.syncOnce(timeoutMs);
      } catch {
        return;
      }
    }
  }

  async catchUp(): Promise<void> {
    while (await this.syncOnce(0));
  }

  async #fillGap(roomId: string, room: SyncedRoom, since: string): Promise<Message[]> {
    if (!room.isLimited) return [...room.messages];
    if (room.prevBatch === undefined) throw new Error(`a limited timeline of ${roomId} without prev_batch`);
    const gap = await this.#client.listMessagesBackward(roomId, { from: room.prevBatch, to: since });
    return [...gap.reverse(), ...room.messages];
  }
}
