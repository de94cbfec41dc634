/**
 * Whom a text may name: the local members of a room by the words of their names, so that a text costs look-ups by its
 * own length and not by the number of members. Only roughly: the push rules say exactly whether a name is there.
 */
import { foldCase } from '../lib/glob.ts';
import { localpartOf, type ServerName, serverNameOf, type UserId } from '../protocol/ids.ts';
import type { PushRoomState } from './types.ts';

interface Names {
  /** By the first run of word characters in a name, which stands alone in every text that has the name. */
  readonly byWord: ReadonlyMap<string, readonly UserId[]>;
  /** Names without any, such as those in other scripts. */
  readonly others: readonly { readonly userId: UserId; readonly name: string }[];
}

/** What counts as part of a word for push rules. */
const WORD = /[a-z0-9_]+/;
const WORDS = /[a-z0-9_]+/g;
/** Names in other scripts are looked for one by one: in so much of a text, which is most messages whole. */
const MAX_SEARCHED_CHARACTERS = 4_096;

// Snapshots share their members for as long as none changes, so the names are gathered once per change of them.
const namesOfMembers = new WeakMap<object, Names>();

/** `text`: with its case folded. */
export function findNamed(text: string, room: PushRoomState, serverName: ServerName): ReadonlySet<UserId> {
  const { byWord, others } = namesOf(room, serverName);
  const named = new Set<UserId>();
  for (const [word] of text.matchAll(WORDS)) for (const userId of byWord.get(word) ?? []) named.add(userId);
  const start = text.slice(0, MAX_SEARCHED_CHARACTERS);
  for (const { userId, name } of others) if (start.includes(name)) named.add(userId);
  return named;
}

function namesOf(room: PushRoomState, serverName: ServerName): Names {
  const known = namesOfMembers.get(room.parts.members);
  if (known !== undefined) return known;
  const byWord = new Map<string, UserId[]>();
  const others: { userId: UserId; name: string }[] = [];
  for (const { stateKey, content } of room.members()) {
    // A membership event was accepted, so its state key is a user id.
    const userId = stateKey as UserId;
    if (content['membership'] !== 'join' || serverNameOf(userId) !== serverName) continue;
    for (const name of [localpartOf(userId), content['displayname']]) {
      if (typeof name !== 'string' || name === '') continue;
      const folded = foldCase(name);
      const [word] = WORD.exec(folded) ?? [];
      if (word === undefined) others.push({ userId, name: folded });
      else {
        const users = byWord.get(word);
        if (users === undefined) byWord.set(word, [userId]);
        else users.push(userId);
      }
    }
  }
  const names = { byWord, others };
  namesOfMembers.set(room.parts.members, names);
  return names;
}
