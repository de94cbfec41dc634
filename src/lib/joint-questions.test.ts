import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createJointQuestions } from './joint-questions.ts';

interface Question {
  readonly of: number;
}
interface Double {
  readonly is: number;
}

function createDoubling(maxTogether: number) {
  const asked: (readonly number[])[] = [];
  const ask = createJointQuestions<Question, Double>(
    async (questions) => {
      asked.push(questions.map(({ of }) => of));
      if (questions.some(({ of }) => of < 0)) throw new Error('not of these');
      return new Map(questions.map((question) => [question, { is: question.of * 2 }]));
    },
    { maxTogether },
  );
  return { ask, asked };
}

test('what is asked at the same time is asked once', async () => {
  const { ask, asked } = createDoubling(10);
  assert.deepEqual(await Promise.all([1, 2, 3].map((of) => ask({ of }))), [{ is: 2 }, { is: 4 }, { is: 6 }]);
  assert.deepEqual(await ask({ of: 4 }), { is: 8 });
  assert.deepEqual(asked, [[1, 2, 3], [4]]);
});

test('no more are asked together than may be', async () => {
  const { ask, asked } = createDoubling(2);
  assert.deepEqual(await Promise.all([1, 2, 3].map((of) => ask({ of }))), [{ is: 2 }, { is: 4 }, { is: 6 }]);
  assert.deepEqual(asked, [[1, 2], [3]]);
});

test('nobody fails for the question of another', async () => {
  const { ask } = createDoubling(10);
  const [good, bad, same] = await Promise.allSettled([ask({ of: 1 }), ask({ of: -1 }), ask({ of: 1 })]);
  assert.deepEqual(good, { status: 'fulfilled', value: { is: 2 } });
  assert.equal(bad?.status, 'rejected');
  assert.deepEqual(same, { status: 'fulfilled', value: { is: 2 } });
});
