/**
 * The server access control lists of rooms, each compiled once for as long as its state event is current.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
 */
import { compileServerAcl, type ServerAcl } from '../protocol/server-acl.ts';
import type { RoomSnapshot } from './room-snapshot.ts';

/** Whether the room lets the server take part. */
export type RoomAcls = (snapshot: RoomSnapshot, serverName: string) => boolean;

export function createRoomAcls(): RoomAcls {
  const compiled = new WeakMap<object, ServerAcl>();
  return (snapshot, serverName) => {
    const content = snapshot.get('m.room.server_acl', '')?.content;
    if (content === undefined) return true;
    const acl = compiled.get(content) ?? compileServerAcl(content);
    compiled.set(content, acl);
    return acl.isAllowed(serverName);
  };
}
