import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomId } from '../protocol/ids.ts';
import { withMovedRoom } from './direct-rooms.ts';

const move = { from: '!old:a.example' as RoomId, to: '!new' as RoomId };

test('a direct chat goes on in the room that replaced it, whoever it is with', () => {
  assert.deepEqual(withMovedRoom({ '@bob:a.example': ['!x', move.from], '@carol:a.example': ['!y'] }, move), {
    '@bob:a.example': ['!x', move.from, move.to],
    '@carol:a.example': ['!y'],
  });
});

test('what needs no change, or was never a list, stays as it is', () => {
  for (const direct of [undefined, {}, { a: ['!y'] }, { a: [move.from, move.to] }, { a: move.from }, { a: null }]) {
    assert.equal(withMovedRoom(direct, move), undefined);
  }
});
