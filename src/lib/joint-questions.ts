/**
 * Questions that are asked at about the same time become one: rooms that work side by side cost one statement together
 * instead of one each. Where that fails, each is asked by itself, so that nobody fails for another's question.
 */

/** The answer to each of the questions. */
export type AskAll<Question extends object, Answer extends object> = (
  questions: readonly Question[],
) => Promise<ReadonlyMap<Question, Answer>>;

interface Waiting<Question, Answer> {
  readonly question: Question;
  readonly resolve: (answer: Answer | PromiseLike<Answer>) => void;
}

/** Those asked within one turn of the event loop are asked together, `maxTogether` at most. */
export function createJointQuestions<Question extends object, Answer extends object>(
  askAll: AskAll<Question, Answer>,
  { maxTogether }: { readonly maxTogether: number },
): (question: Question) => Promise<Answer> {
  let waiting: Waiting<Question, Answer>[] = [];

  async function askAlone(question: Question): Promise<Answer> {
    const answer = (await askAll([question])).get(question);
    if (answer === undefined) throw new Error('the question was not answered');
    return answer;
  }

  async function askTogether(asked: readonly Waiting<Question, Answer>[]): Promise<void> {
    const questions = asked.map(({ question }) => question);
    const answers = asked.length === 1 ? undefined : await askAll(questions).catch(() => undefined);
    for (const { question, resolve } of asked) resolve(answers?.get(question) ?? askAlone(question));
  }

  function flush(): void {
    const asked = waiting;
    waiting = [];
    for (let from = 0; from < asked.length; from += maxTogether)
      void askTogether(asked.slice(from, from + maxTogether));
  }

  return (question) =>
    new Promise((resolve) => {
      if (waiting.length === 0) setImmediate(flush);
      waiting.push({ question, resolve });
    });
}
