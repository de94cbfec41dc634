import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { containsWord, foldCase } from '../lib/glob.ts';
import { localpartOf, type ServerName, type UserId } from '../protocol/ids.ts';
import { getRoomVersion } from '../protocol/room-version.ts';
import { findNamed } from './named-members.ts';
import type { PushRoomState } from './types.ts';

const SERVER = 'a.example' as ServerName;

function roomOf(members: readonly (readonly [userId: string, displayname: string | undefined])[]): PushRoomState {
  const version = getRoomVersion('11');
  assert.ok(version);
  const list = members.map(([stateKey, displayname]) => ({
    stateKey,
    content: { membership: 'join', ...(displayname !== undefined && { displayname }) },
  }));
  return {
    version,
    joinedCount: list.length,
    parts: { members: list },
    get: () => undefined,
    membershipOf: () => 'join',
    members: () => list,
  };
}

test('finds members by localpart and display name, and those of this server only', () => {
  const room = roomOf([
    ['@ann:a.example', 'Ann-Marie O’Hara'],
    ['@bob.smith:a.example', undefined],
    ['@маша:a.example', 'Маша'],
    ['@carl:b.example', 'Carl'],
  ]);
  const named = (text: string) => [...findNamed(foldCase(text), room, SERVER)].map(localpartOf);
  assert.deepEqual(named('hello @ann:a.example'), ['ann']);
  assert.deepEqual(named('Bob.Smith, look'), ['bob.smith']);
  assert.deepEqual(named('привет маша!'), ['маша']);
  assert.deepEqual(named('announcing carl'), []);
});

test('misses nobody whom the rules would find', () => {
  const letters = fc.constantFrom('a', 'B', '_', '1', ' ', '-', 'é', 'я', '.');
  const name = fc.string({ unit: letters, minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(
      name,
      fc.string({ unit: letters, maxLength: 8 }),
      fc.string({ unit: letters, maxLength: 8 }),
      (displayname, before, after) => {
        const userId = '@nobody-at-all:a.example' as UserId;
        const text = foldCase(before + displayname + after);
        if (!containsWord(text, foldCase(displayname))) return;
        assert.ok(findNamed(text, roomOf([[userId, displayname]]), SERVER).has(userId));
      },
    ),
  );
});
