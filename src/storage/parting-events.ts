/**
 * How users of ours left rooms that were deleted since: kept for the servers that have not taken it, which would
 * believe for ever that the users are in the room. Read by a server's catch-up like what is owed to it.
 */
import type { RoomId, ServerName } from '../protocol/ids.ts';
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

/**
 * Keeps the current membership events of local users who are not in the room any more, for the servers in it that are
 * owed something of that time. Where there is no such server it writes nothing.
 */
export async function insertPartingEvents(tx: Transaction, roomId: RoomId, serverName: ServerName): Promise<void> {
  await tx.query(sql`
    with waiting as (
      select d.server_name, d.pending_from from destinations d
      where d.pending_from is not null and exists (
        select from memberships m
        where m.room_id = ${roomId} and m.membership = 'join'
          and substr(m.user_id, strpos(m.user_id, ':') + 1) = d.server_name)
    ), servers as (
      insert into parting_servers (server_name, room_id)
      select server_name, ${roomId} from waiting on conflict do nothing
    )
    insert into parting_events (room_id, position, room_version, event_id, pdu)
    select e.room_id, e.position, r.room_version, e.event_id, e.pdu
    from memberships m
    join events e on e.room_id = m.room_id and e.position = m.position
    join rooms r on r.room_id = m.room_id
    where m.room_id = ${roomId} and m.membership = 'leave'
      and right(m.user_id, ${serverName.length + 1}) = ${`:${serverName}`}
      and coalesce(e.outgoing, right(e.sender, ${serverName.length + 1}) = ${`:${serverName}`})
      and e.position >= (select min(pending_from) from waiting)
    on conflict do nothing`);
}

/** Forgets what every server has taken. */
export async function deleteTakenPartingEvents(tx: Transaction): Promise<void> {
  await tx.query(sql`
    delete from parting_servers s
    where not exists (
      select from destinations d join parting_events e on e.room_id = s.room_id and e.position >= d.pending_from
      where d.server_name = s.server_name and d.pending_from is not null)`);
  await tx.query(sql`
    delete from parting_events e where not exists (select from parting_servers s where s.room_id = e.room_id)`);
}
