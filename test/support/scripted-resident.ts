/**
 * A scripted server that is in a room of its own and lets others join it, and that lies where a test wants it to.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EventId, RoomId, UserId } from '../../src/protocol/ids.ts';
import type { Event, JsonObject } from '../../src/protocol/pdu.ts';
import { authChainOf } from '../../src/protocol/state-resolution/index.ts';
import type { TestAuthority } from './certificates.ts';
import { versionOf } from './engine.ts';
import { type ScriptedServer, startScriptedServer } from './federation.ts';
import { RemoteRoom, RemoteServer } from './remote-room.ts';

export interface ScriptedResident extends AsyncDisposable {
  readonly server: ScriptedServer;
  readonly remote: RemoteServer;
  readonly eve: UserId;
  readonly room: RemoteRoom;
  /** What `/send_join` was given, in order. */
  readonly joins: JsonObject[];
  /** Changes what `/make_join` answers; a number is a status without a body, an error is answered with its errcode. */
  template: (answer: TemplateAnswer) => JsonObject | number | ScriptedError;
  /** Changes what `/send_join` answers; text is sent as it is. */
  answer: (answer: JoinAnswer) => JsonObject | string | number | Promise<JoinAnswer>;
  /** Whether it leaves members out of what `/send_join` answers. */
  omitsMembers: boolean;
  /** Changes what `/state_ids` and `/state` answer. */
  giveState: (answer: JsonObject) => JsonObject | number | Promise<JsonObject | number>;
  /** Whether it knows the first version of `/send_join` only. */
  isOld: boolean;
}

export class ScriptedError {
  readonly status: number;
  readonly body: JsonObject;

  constructor(status: number, body: JsonObject) {
    this.status = status;
    this.body = body;
  }
}

export interface TemplateAnswer extends JsonObject {
  readonly room_version: string;
  readonly event: JsonObject;
}

export interface JoinAnswer extends JsonObject {
  readonly state: readonly JsonObject[];
  readonly auth_chain: readonly JsonObject[];
  readonly event: JsonObject;
}

let rooms = 0;

export async function startScriptedResident(
  authority: TestAuthority,
  { version = '10', joinRules = { join_rule: 'public' } }: { version?: string; joinRules?: JsonObject } = {},
): Promise<ScriptedResident> {
  const server = await startScriptedServer(authority);
  const remote = new RemoteServer(server.serverName, server.signingKey);
  const eve = remote.user('eve');
  rooms += 1;
  const room = new RemoteRoom(remote, {
    roomId: `!room${rooms}:${server.serverName}` as RoomId,
    version: versionOf(version),
  });
  const state = (type: string, content: JsonObject): Event => room.add({ type, sender: eve, stateKey: '', content });
  room.add({
    type: 'm.room.create',
    sender: eve,
    stateKey: '',
    content: { room_version: version, creator: eve },
    prev: [],
  });
  room.member(eve, 'join');
  state('m.room.power_levels', { users: { [eve]: 100 } });
  state('m.room.join_rules', joinRules);
  state('m.room.name', { name: 'Lair' });
  const resident: ScriptedResident = {
    server,
    remote,
    eve,
    room,
    joins: [],
    template: (answer) => answer,
    answer: (answer) => answer,
    omitsMembers: false,
    giveState: (answer) => answer,
    isOld: false,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
  server.handle = (request, response) => {
    handle(resident, request, response).catch((cause: unknown) => response.destroy(new Error('failed', { cause })));
  };
  return resident;
}

async function handle(resident: ScriptedResident, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = (await request.toArray()).join('');
  const answer = await answerTo(resident, request.url ?? '', body === '' ? {} : JSON.parse(body));
  if (typeof answer === 'number') response.writeHead(answer).end();
  else if (answer instanceof ScriptedError) {
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
  } else {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  }
}

async function answerTo(
  resident: ScriptedResident,
  url: string,
  body: JsonObject,
): Promise<JsonObject | string | number | ScriptedError> {
  const { server, room } = resident;
  const [path = ''] = url.split('?');
  const last = decodeURIComponent(path.split('/').at(-1) ?? '');
  if (path.startsWith('/_matrix/key/')) return server.keyDocument();
  if (path.includes('/send/')) return { pdus: {} };
  if (path.includes('/make_join/')) {
    const content = { membership: 'join' };
    const { pdu } = room.make({ type: 'm.room.member', sender: last as UserId, stateKey: last, content });
    const { hashes: _hashes, signatures: _signatures, ...event } = pdu;
    return resident.template({ room_version: room.version.id, event });
  }
  if (path.includes('/v2/send_join/') && resident.isOld) return 404;
  if (path.includes('/send_join/')) {
    resident.joins.push(body);
    const state = [...room.stateAfter(room.newest).values()];
    const chain = authChainOf(
      state.map(({ eventId }) => eventId),
      (id) => room.events.get(id),
    );
    const authChain = [...chain].flatMap((id) => room.events.get(id)?.pdu ?? []);
    const given = resident.omitsMembers ? state.filter(({ type }) => type !== 'm.room.member') : state;
    const answer = await resident.answer({
      state: given.map(({ pdu }) => pdu),
      auth_chain: authChain,
      event: body,
      ...(resident.omitsMembers && { members_omitted: true, servers_in_room: [server.serverName] }),
    });
    return resident.isOld ? `[200, ${JSON.stringify(answer)}]` : answer;
  }
  const pdu = path.includes('/event/') ? room.events.get(last as EventId)?.pdu : undefined;
  if (pdu !== undefined) return { pdus: [pdu] };
  return path.includes('/state') ? giveState(resident, url) : 404;
}

/** The state before an event, or its ids. */
async function giveState(
  { room, server, giveState: give }: ScriptedResident,
  url: string,
): Promise<JsonObject | number> {
  const { pathname, searchParams } = new URL(url, 'https://resident.example');
  const asked = {
    server: server.serverName,
    roomId: room.roomId,
    eventId: (searchParams.get('event_id') ?? '') as EventId,
  };
  if (!room.events.has(asked.eventId)) return 404;
  const { stateIds, authChainIds } = await room.answers().fetchStateIds(asked);
  if (pathname.includes('/state_ids/')) return give({ pdu_ids: stateIds, auth_chain_ids: authChainIds });
  const pdusOf = (ids: readonly EventId[]) => ids.flatMap((id) => room.events.get(id)?.pdu ?? []);
  return give({ pdus: pdusOf(stateIds), auth_chain: pdusOf(authChainIds) });
}
