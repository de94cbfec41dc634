/**
 * Runs one asynchronous job per item, a few at a time. After a failure no other item is begun; it is passed on when what
 * was begun before has ended, so that nothing goes on behind the caller's back.
 */
export async function forEachLimited<T>(
  items: Iterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  let hasFailed = false;
  const takeAll = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true && !hasFailed; next = iterator.next()) {
      try {
        await work(next.value);
      } catch (cause) {
        hasFailed = true;
        throw cause;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: limit }, takeAll));
  const failure = results.find((result) => result.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
}
