/**
 * Waiting for what another server or a background task does in its own time.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

/** Far more than it should ever take: only a test that fails waits for so long. */
const PATIENCE_MS = 20_000;
const PAUSE_MS = 20;

export async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let waited = 0; waited < PATIENCE_MS; waited += PAUSE_MS) {
    if (await condition()) return;
    await sleep(PAUSE_MS);
  }
  assert.fail('what was waited for did not happen');
}
