/**
 * Searching users: this server's by localpart and by the profile that a user shows everywhere, never by what they call
 * themselves in one room; those of other servers by their localpart. Found is only who shares a room with the searcher, or
 * is in a room that anybody may enter or read, which may be the searcher.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#user-directory
 */
import type { Transaction } from './database.ts';
import { sql } from './sql.ts';

export interface UserSearch {
  readonly searcher: string;
  readonly serverName: string;
  readonly term: string;
  readonly limit: number;
}

export interface FoundUser {
  readonly userId: string;
  readonly displayName: string | undefined;
  readonly avatarUrl: string | undefined;
}

interface FoundRow {
  readonly user_id: string;
  readonly display_name: string | null;
  readonly avatar_url: string | null;
}

/** Sorts behind every character of a user id. */
const LAST = '\u{10FFFF}';

/**
 * Users whose id begins with the term, or a word of whose localpart or display name does, of other servers' users the
 * first word of the localpart: whole names first.
 *
 * PostgreSQL cannot read every JSON text that holds \u escapes, and one of them would end every search; they stand for
 * control characters only, so that such a name or event is passed over.
 */
export async function searchUsers(
  tx: Transaction,
  { searcher, serverName, term, limit }: UserSearch,
): Promise<readonly FoundUser[]> {
  const prefix = `@${term.toLowerCase().replace(/^@/, '')}`;
  const rows = await tx.query(sql<FoundRow>`
    with candidates as (
      select a.localpart, '@' || a.localpart || ':' || ${serverName} collate "C" as user_id
      from accounts a where not a.deactivated
      union all
      select distinct substr(m.user_id, 2, strpos(m.user_id, ':') - 2), m.user_id
      from memberships m
      where m.user_id >= ${prefix} and m.user_id < ${prefix + LAST} and m.membership = 'join'
        and substr(m.user_id, strpos(m.user_id, ':') + 1) <> ${serverName}
    ), profiled as (
      select c.localpart, c.user_id,
        case when n.value like '"%' and strpos(n.value, '\\u') = 0 then n.value::json #>> '{}' end as display_name,
        case when v.value like '"%' and strpos(v.value, '\\u') = 0 then v.value::json #>> '{}' end as avatar_url
      from candidates c
      left join profiles n on n.user_id = c.user_id and n.field = 'displayname'
      left join profiles v on v.user_id = c.user_id and v.field = 'avatar_url'
    )
    select user_id, display_name, avatar_url from profiled
    where (starts_with(lower(user_id), lower(${term}))
        or strpos(' ' || translate(localpart, '-_./=+', '      '), ' ' || lower(${term})) > 0
        or starts_with(localpart, lower(${term}))
        or strpos(' ' || lower(display_name), ' ' || lower(${term})) > 0)
      and exists (
        select from memberships theirs
        where theirs.user_id = profiled.user_id and theirs.membership = 'join'
          and (theirs.user_id <> ${searcher} and exists (
            select from memberships mine
            where mine.room_id = theirs.room_id and mine.user_id = ${searcher} and mine.membership = 'join')
          or exists (
            select from current_state s join events e using (event_nid)
            where s.room_id = theirs.room_id and s.state_key = ''
              and s.type in ('m.room.join_rules', 'm.room.history_visibility') and e.redacted_by is null
              and case when strpos(e.pdu, '\\u') = 0 then case s.type
                when 'm.room.join_rules' then e.pdu::json #>> '{content,join_rule}' = 'public'
                else e.pdu::json #>> '{content,history_visibility}' = 'world_readable' end end)))
    order by (localpart = lower(${term}) or coalesce(lower(display_name) = lower(${term}), false)) desc,
      display_name is null, user_id
    limit ${limit}`);
  return rows.map((row) => ({
    userId: row.user_id,
    displayName: row.display_name ?? undefined,
    avatarUrl: row.avatar_url ?? undefined,
  }));
}
