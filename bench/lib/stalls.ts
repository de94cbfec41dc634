/**
 * The longest time for which a server's event loop stood still, as its metrics tell: they start anew with each reading.
 */
const SCRAPE_MS = 500;

export function watchStalls(metricsUrl: string): { end(): Promise<number> } {
  let longest = 0;
  const read = async (): Promise<void> => {
    const answer = await fetch(metricsUrl);
    const found = /^nodejs_eventloop_lag_max_seconds ([\d.e-]+)$/m.exec(await answer.text());
    longest = Math.max(longest, Number(found?.[1] ?? 0) * 1000);
  };
  let reading = read().then(() => {
    longest = 0;
  });
  const timer = setInterval(() => {
    reading = reading.then(read);
  }, SCRAPE_MS);
  return {
    /** Milliseconds since the watch began. */
    async end() {
      clearInterval(timer);
      await reading;
      await read();
      return longest;
    },
  };
}
