/**
 * From one server to another: messages of a user, one each 20 ms, to a member on the same server and to a member on a second
 * one, both long-polling.
 *
 *   node bench/second-server.ts [--messages 500]
 *
 * Prints how long a message took to each of them, and how much longer the way over two servers is.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createTestAuthority } from '../test/support/certificates.ts';
import { startFederatingProcess } from '../test/support/federating-process.ts';
import { createApi } from './lib/api.ts';
import { type Audience, prepareListener, receiveAll, sendPaced } from './lib/audience.ts';
import { createHttpClient } from './lib/client.ts';
import { summarize } from './lib/stats.ts';
import { formatFigure, formatTable } from './lib/table.ts';

const { values: options } = parseArgs({ options: { messages: { type: 'string', default: '500' } } });
const MESSAGES = Number(options.messages);
/** The first messages open connections and fetch keys. */
const WARM_UP = 50;
const SETTLE_MS = 500;

await using stack = new AsyncDisposableStack();
const authority = stack.use(await createTestAuthority());
const near = stack.use(await startFederatingProcess(authority));
const far = stack.use(await startFederatingProcess(authority));
const [nearApi, farApi] = [near, far].map(({ process }) => {
  const http = createHttpClient(process.url);
  stack.defer(() => http.close());
  return createApi(http, {});
});
if (nearApi === undefined || farApi === undefined) throw new Error('there are two servers');
const alice = await nearApi.register('alice');
const roomId = await nearApi.createRoom(alice, { preset: 'public_chat' });
const same = await prepareListener(nearApi, await nearApi.register('carol'), { roomId });
const other = await prepareListener(farApi, await farApi.register('bob'), { roomId, via: near.serverName });
const audience: Audience = { roomId, messages: WARM_UP + MESSAGES, sentAt: [] };
const [onSame, onOther]: [number[], number[]] = [[], []];
const receipts = [
  receiveAll(same, audience, (took) => onSame.push(took)),
  receiveAll(other, audience, (took) => onOther.push(took)),
];
await sleep(SETTLE_MS);
await Promise.all([sendPaced(nearApi, audience, alice), ...receipts]);
const [nearTimes, farTimes] = [onSame, onOther].map((times) => summarize(times.slice(WARM_UP)));
if (nearTimes === undefined || farTimes === undefined) throw new Error('there are two listeners');
const toRow = (title: string, { p50, p99, max }: typeof nearTimes) => [title, ...[p50, p99, max].map(formatFigure)];
console.log(`${MESSAGES} messages, one each 20 ms`);
console.log(
  formatTable(
    ['to a member on', 'p50 ms', 'p99 ms', 'max ms'],
    [toRow('the same server', nearTimes), toRow('a second server', farTimes)],
  ),
);
console.log(`p99 ${formatFigure(farTimes.p99 / nearTimes.p99)} times as long`);
