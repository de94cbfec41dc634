/**
 * Puts accounts and a large room into a Hammerhead's database by SQL, while the server is stopped: through the API the
 * same would take hours.
 */
import { Client } from 'pg';

/** Numeric ids far beyond those that the server hands out. */
const FIRST_NID = 1_000_000_000_000;

export interface LargeRoom {
  readonly roomId: string;
  /** Seeded rooms of one database must not share ids. */
  readonly number: number;
  readonly serverName: string;
  readonly events: number;
  readonly members: number;
}

/** Accounts without a password, named after their number. */
export async function seedAccounts(databaseUrl: string, upTo: number): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    await client.query(
      `insert into accounts (localpart, created_at)
       select 'seeded' || n, n from generate_series((select count(*) + 1 from accounts), $1) n on conflict do nothing`,
      [upTo],
    );
    await client.query('vacuum analyze accounts');
  });
}

/** Fills rooms that the server made with members of its own and with their messages. */
export async function seedRooms(databaseUrl: string, rooms: readonly LargeRoom[]): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    for (const room of rooms) {
      await client.query('begin');
      await insertEvents(client, room);
      await insertState(client, room);
      // Positions are handed out from here on.
      await client.query('update stream_writers set position = position + $1', [room.events]);
      await client.query('commit');
    }
    await client.query('vacuum analyze');
  });
}

/** The first events are the members' joins, the others messages of some 500 bytes. */
async function insertEvents(client: Client, { roomId, number, serverName, events, members }: LargeRoom): Promise<void> {
  await client.query(
    `insert into events (event_nid, event_id, room_id, type, state_key, sender, depth, origin_server_ts, writer_id,
       position, state_before, state_after, pdu)
     select $1::bigint + n, id, $2, type, state_key, sender, 10 + n, 1700000000000 + n, 1, w.position + n,
       -- One after another for the members, and that of the last for the messages: as the room's own actor gives them.
       case when n = 1 then h.state_snapshot when n <= $4::bigint then $1::bigint + n - 1 else $1::bigint end,
       case when n < $4::bigint then $1::bigint + n else $1::bigint end,
       jsonb_build_object('auth_events', '[]'::jsonb, 'content', content, 'depth', 10 + n, 'origin_server_ts',
         1700000000000 + n, 'prev_events', '[]'::jsonb, 'room_id', $2::text, 'sender', sender, 'type', type)::text
     from generate_series(1, $3::bigint) n, stream_writers w, room_heads h,
     lateral (select '@member' || case when n <= $4::bigint then n else n % $4::bigint + 1 end || ':' || $5 as sender) s,
     lateral (select case when n <= $4 then 'm.room.member' else 'm.room.message' end as type,
       case when n <= $4 then sender end as state_key, '$seeded' || $6 || '-' || n as id,
       case when n <= $4 then '{"membership":"join"}'::jsonb
         else jsonb_build_object('body', repeat('seeded ', 40), 'msgtype', 'm.text') end as content) e
     where h.room_id = $2 and w.writer_id = 1`,
    [FIRST_NID * number, roomId, events, members, serverName, String(number)],
  );
  // State events say whom they are about.
  await client.query(
    `update events set pdu = (pdu::jsonb || jsonb_build_object('state_key', state_key))::text
     where room_id = $1 and type = 'm.room.member' and event_nid > $2`,
    [roomId, FIRST_NID * number],
  );
}

async function insertState(client: Client, { roomId, number, members }: LargeRoom): Promise<void> {
  const first = FIRST_NID * number;
  await client.query(
    `insert into current_state (room_id, type, state_key, event_nid)
     select room_id, type, state_key, event_nid from events
     where room_id = $1 and type = 'm.room.member' and event_nid > $2`,
    [roomId, first],
  );
  await client.query(
    `insert into memberships (room_id, user_id, membership, sender, event_nid, position)
     select room_id, state_key, 'join', sender, event_nid, position from events
     where room_id = $1 and type = 'm.room.member' and event_nid > $2`,
    [roomId, first],
  );
  // One snapshot for each join, as joins make them, and a last one that holds them all.
  await client.query(
    `insert into state_snapshots (snapshot_nid, room_id, parent_nid, height, added, removed)
     select $2::bigint + n, $1, h.state_snapshot, s.height + n, array[$2::bigint + n], '{}'
     from generate_series(1, $3::bigint) n, room_heads h join state_snapshots s on s.snapshot_nid = h.state_snapshot
     where h.room_id = $1`,
    [roomId, first, members],
  );
  await client.query(
    `insert into state_snapshots (snapshot_nid, room_id, parent_nid, height, added, removed)
     select $2, $1, h.state_snapshot, s.height + $3 + 1, array(select $2::bigint + n from generate_series(1, $3::bigint) n), '{}'
     from room_heads h join state_snapshots s on s.snapshot_nid = h.state_snapshot where h.room_id = $1`,
    [roomId, first, members],
  );
  await client.query(
    `update room_heads set state_snapshot = $2, last_position = last_position + $3,
       forward_extremities = array[$2::bigint + 1] where room_id = $1`,
    [roomId, first, members],
  );
}

async function withClient(url: string, work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
