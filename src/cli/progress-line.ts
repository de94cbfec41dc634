/**
 * One line on a terminal that says how far long work is, with a bar where the end is known. Written to stderr, so that
 * stdout stays clean; nothing at all where there is no terminal.
 */
import { type Clock, systemClock } from '../lib/clock.ts';

export interface ProgressLine extends Disposable {
  show(progress: Progress): void;
}

export interface Progress {
  readonly label: string;
  readonly done?: number;
  /** Where it is known. */
  readonly total?: number;
  readonly detail?: string;
}

type Terminal = Pick<NodeJS.WriteStream, 'isTTY' | 'columns' | 'write'>;

const BAR_WIDTH = 24;
/** Terminals whose width is not known, or said to be 0. */
const USUAL_COLUMNS = 80;
/** Faster than eyes are, and slower than a terminal over a slow line. */
const REDRAW_MS = 100;
const CLEAR_LINE = '\r\u001b[2K';

export function createProgressLine(terminal: Terminal = process.stderr, clock: Clock = systemClock): ProgressLine {
  let isShown = false;
  let shownAt = Number.NEGATIVE_INFINITY;
  return {
    show(progress) {
      if (terminal.isTTY !== true || clock.monotonic() - shownAt < REDRAW_MS) return;
      shownAt = clock.monotonic();
      const line = renderProgress(progress).slice(0, (terminal.columns || USUAL_COLUMNS) - 1);
      terminal.write(CLEAR_LINE + line);
      isShown = true;
    },
    [Symbol.dispose]() {
      if (isShown) terminal.write(CLEAR_LINE);
    },
  };
}

export function renderProgress({ label, done, total, detail = '' }: Progress): string {
  if (done === undefined || total === undefined || total <= 0) return `${label} ${detail}`.trimEnd();
  const share = Math.min(1, Math.max(0, done / total));
  const filled = Math.round(share * BAR_WIDTH);
  const bar = `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}]`;
  return `${label} ${bar} ${String(Math.floor(share * 100)).padStart(3)} % ${detail}`.trimEnd();
}
