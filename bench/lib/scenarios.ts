/**
 * Every scenario, in the order in which they run: later ones use rooms and accounts of earlier ones.
 */
import { createRoom } from '../scenarios/create-room.ts';
import { fanOut } from '../scenarios/fan-out.ts';
import { join } from '../scenarios/join.ts';
import { members, messages, state } from '../scenarios/read-room.ts';
import { register } from '../scenarios/register.ts';
import { sendManyRooms, sendOneRoom, sendSequential } from '../scenarios/send.ts';
import { emptySync, firstSync } from '../scenarios/sync.ts';
import type { Api } from './api.ts';
import { createBench, type Result, type Scenario } from './bench.ts';
import { createMeter } from './meter.ts';

interface RunOptions {
  readonly api: Api;
  readonly pids: readonly number[];
  /** Names of scenarios; all of them where there are none. */
  readonly names: readonly string[];
  readonly isQuick: boolean;
  readonly onResult: (result: Result) => void;
}

const SCENARIOS: readonly Scenario[] = [
  register,
  createRoom,
  sendManyRooms,
  sendOneRoom,
  sendSequential,
  fanOut,
  join,
  members,
  state,
  messages,
  firstSync,
  emptySync,
];

/** What needs no more of a homeserver than accounts, rooms and messages: all that the floor server offers. */
export const SEND_SCENARIOS = [sendManyRooms, sendOneRoom, sendSequential].map(({ name }) => name);

export async function runScenarios({ api, pids, names, isQuick, onResult }: RunOptions): Promise<void> {
  const unknown = names.filter((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown.length > 0) {
    throw new Error(`no scenario ${unknown.join(', ')}; there are ${SCENARIOS.map(({ name }) => name).join(', ')}`);
  }
  const bench = createBench({ api, meter: createMeter(pids), isQuick, onResult });
  const wanted = SCENARIOS.filter(({ name }) => names.length === 0 || names.includes(name));
  for (const scenario of wanted) await scenario.run(bench);
}
