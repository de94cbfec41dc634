/**
 * Numeric ids without a query for each: blocks are taken from a sequence ahead of need. What a stopped server did not use
 * of its block is lost, which a 63-bit sequence can afford.
 */
export interface NidSourceOptions {
  /** The first id of a new block. */
  readonly reserveBlock: () => Promise<number>;
  readonly blockSize: number;
}

export interface NidSource {
  take(): Promise<number>;
}

export function createNidSource({ reserveBlock, blockSize }: NidSourceOptions): NidSource {
  let next = 0;
  let end = 0;
  let coming: Promise<void> | undefined;
  const refill = (): Promise<void> => {
    coming ??= reserveBlock()
      .then((first) => {
        next = first;
        end = first + blockSize;
      })
      .finally(() => {
        coming = undefined;
      });
    return coming;
  };
  return {
    async take() {
      // Whoever waited for the same block may have used it up.
      while (next >= end) await refill();
      return next++;
    },
  };
}
