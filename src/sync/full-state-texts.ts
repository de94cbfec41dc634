/**
 * The texts of whole states, shared between readers: after a pause of the server everybody asks for the same rooms, and
 * thousands of members look the same to all of them.
 *
 * Invariant: a text is given for the very maps that it was made from, so no change of the state can be missed.
 */
import type { RoomSnapshot } from '../engine/room-snapshot.ts';
import { Lru } from '../lib/lru.ts';
import type { RoomId } from '../protocol/ids.ts';

/** Some 130,000 members. */
const MAX_BYTES = 32 * 1024 * 1024;

type States = Pick<RoomSnapshot['parts'], 'members' | 'others'>;

export interface FullStateTexts {
  /** The events of the room's state with commas between them, in UTF-8. */
  get(snapshot: RoomSnapshot, render: () => string): Buffer;
}

export function createFullStateTexts(): FullStateTexts {
  const texts = new Lru<RoomId, States & { readonly text: Buffer }>({
    maxCost: MAX_BYTES,
    costOf: ({ text }) => text.length,
  });
  return {
    get({ roomId, parts: { members, others } }, render) {
      const known = texts.get(roomId);
      if (known?.members === members && known.others === others) return known.text;
      const text = Buffer.from(render());
      texts.set(roomId, { members, others, text });
      return text;
    },
  };
}
