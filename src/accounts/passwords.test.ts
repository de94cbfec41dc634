import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoundedPool } from './bounded-pool.ts';
import { createPasswordHasher } from './password-hasher.ts';
import { createPasswordCheck } from './password-strength.ts';

test('a password matches its own hash only', async () => {
  const hasher = createPasswordHasher();
  const stored = await hasher.hash('correct horse');
  assert.match(stored, /^\$argon2id\$v=19\$m=12288,t=3,p=1\$/);
  assert.equal(await hasher.verify(stored, 'correct horse'), true);
  assert.equal(await hasher.verify(stored, 'correct horse '), false);
  assert.equal(await hasher.verify(undefined, 'x'), false, 'also for what the stand-in was made from');
});

test('what is stored and is no hash is no password of anybody', async () => {
  for (const hasher of [createPasswordHasher(), createPasswordHasher({ pepper: 'secret' })]) {
    for (const stored of ['', 'x', '$2b$12$abcdefghijklmnopqrstuv', '$argon2id$v=19$m=1', 'pepper:', 'pepper:x', '*']) {
      assert.equal(await hasher.verify(stored, 'password'), false, stored);
    }
  }
});

test('a pepper is needed to check what was hashed with it, and old hashes stay good', async () => {
  const plain = createPasswordHasher();
  const peppered = createPasswordHasher({ pepper: 'secret' });
  const old = await plain.hash('password');
  const made = await peppered.hash('password');
  assert.equal(await peppered.verify(made, 'password'), true);
  assert.equal(await peppered.verify(old, 'password'), true);
  assert.equal(await plain.verify(made, 'password'), false);
  assert.equal(await createPasswordHasher({ pepper: 'another' }).verify(made, 'password'), false);
});

test('hashing is refused when too many wait', async () => {
  const hasher = createPasswordHasher({ maxWaiting: 1 });
  const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => hasher.hash('password')));
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  assert.equal(refused.length, 2);
  for (const { reason } of refused) assert.equal(reason.errcode, 'M_LIMIT_EXCEEDED');
});

test('the pool runs no more at once than it may, all in the end, and survives failures', async () => {
  const pool = new BoundedPool({ maxRunning: 2, maxWaiting: 100, retryAfterMs: 1 });
  let running = 0;
  let most = 0;
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      pool.run(async () => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        if (index % 3 === 0) throw new Error('failed');
        return index;
      }),
    ),
  );
  assert.equal(most, 2);
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 13);
});

test('weak passwords are refused', () => {
  const check = createPasswordCheck({ minLength: 10, minEntropy: 50 });
  const weak = [
    'short',
    'password1234',
    'aaaaaaaaaaaaaaaa',
    'qwertyuiop',
    'alicealicealice',
    'xkwqpzjvha',
    '',
    'x'.repeat(1025),
  ];
  for (const password of weak)
    assert.throws(() => check(password, ['alice']), { errcode: 'M_WEAK_PASSWORD' }, password);
  check('correct horse battery staple', ['alice']);
  check('v8Rk2!qPz0Lm#x', ['alice']);
  createPasswordCheck({ minLength: 1, minEntropy: 0 })('x', []);
});

test('judging a long password takes no long: only its beginning is looked at', () => {
  const check = createPasswordCheck({ minLength: 10, minEntropy: 50 });
  const strong = 'v8Rk2!qPz0Lm#x';
  check(strong, []);
  check(`${strong}${'aB1!qwe'.repeat(140)}`, []);
  assert.throws(() => check(`${'a'.repeat(64)}${strong}`, []), { errcode: 'M_WEAK_PASSWORD' });
});
