import assert from 'node:assert/strict';
import { test } from 'node:test';
import vectors from '../../test/vectors/visibility/events.json' with { type: 'json' };
import type { ServerName, UserId } from './ids.ts';
import { isVisible, isVisibleToServer, strongestMembership } from './visibility.ts';

const userId = '@reader:x' as UserId;
const message = { type: 'm.room.message', stateKey: undefined };
const MEMBERSHIPS = [undefined, 'invite', 'join', 'leave', 'ban', 'knock'] as const;

/** Rows: visibility; columns: membership at the event; `+` sees, `-` does not, `j` sees if joined later. */
const TABLE: Readonly<Record<string, string>> = {
  world_readable: '++++++',
  shared: 'jj+jjj',
  invited: '-++---',
  joined: '--+---',
  'something new': 'jj+jjj',
};

for (const [visibility, row] of Object.entries(TABLE)) {
  test(`messages under ${visibility}`, () => {
    for (const [index, membership] of MEMBERSHIPS.entries()) {
      for (const joinedLater of [false, true]) {
        const facts = { visibility, membership };
        const expected = row[index] === '+' || (row[index] === 'j' && joinedLater);
        const seen = isVisible({ before: facts, after: facts, event: message, userId, joinedLater });
        assert.equal(seen, expected, `${membership}, joined later: ${joinedLater}`);
      }
    }
  });
}

test('a change of visibility is seen by whom either side lets see', () => {
  const event = { type: 'm.room.history_visibility', stateKey: '' };
  const open = { visibility: 'world_readable', membership: undefined };
  const closed = { visibility: 'joined', membership: undefined };
  const question = { event, userId, joinedLater: false };
  assert.ok(isVisible({ ...question, before: open, after: closed }));
  assert.ok(isVisible({ ...question, before: closed, after: open }));
  assert.equal(isVisible({ ...question, before: closed, after: closed }), false);
});

test("a user's own membership events are seen whatever the visibility is", () => {
  const event = { type: 'm.room.member', stateKey: userId };
  const of = (membership: string | undefined) => ({ visibility: 'joined', membership });
  const question = { event, userId, joinedLater: false };
  assert.ok(isVisible({ ...question, before: of(undefined), after: of('join') }));
  assert.ok(isVisible({ ...question, before: of('join'), after: of('ban') }));
  assert.ok(isVisible({ ...question, before: of('invite'), after: of('leave') }));
  assert.ok(isVisible({ ...question, before: of('leave'), after: of('ban') }));
  const others = { ...question, event: { type: 'm.room.member', stateKey: '@other:x' } };
  assert.equal(isVisible({ ...others, before: of(undefined), after: of(undefined) }), false);
});

/** `facts` is visibility and membership, each of which may be absent. */
const factsOf = ([visibility, membership]: readonly (string | null)[]) => ({
  visibility: visibility ?? undefined,
  membership: membership ?? undefined,
});

for (const { name, type, stateKey, before, after, joinedLater, user, server } of vectors) {
  test(`29, B3: ${name}`, () => {
    const event = { type, stateKey: stateKey ?? undefined };
    const question = { event, before: factsOf(before), after: factsOf(after), joinedLater };
    assert.equal(isVisible({ ...question, userId }), user, 'the user');
    assert.equal(isVisibleToServer({ ...question, serverName: 'x' as ServerName }), server, 'the server');
  });
}

test('B3: a server may have what any of its users may see', () => {
  assert.equal(strongestMembership([]), undefined);
  assert.equal(strongestMembership(['leave', 'ban']), 'leave');
  assert.equal(strongestMembership(['leave', 'invite', 'knock']), 'invite');
  assert.equal(strongestMembership(['invite', 'ban', 'join', 'leave']), 'join');
});
