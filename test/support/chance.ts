/** Numbers that a seed repeats, for tests that try at random and have to be run again as they were. */

/** Gives whole numbers from 0 to below a bound. */
export type Chance = (bound: number) => number;

export function createChance(seed: number): Chance {
  let value = seed * 2_654_435_761;
  return (bound) => {
    value = (Math.imul(value, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((value / 2 ** 32) * bound);
  };
}
