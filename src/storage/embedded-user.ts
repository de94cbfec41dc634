/**
 * Who runs the server's own PostgreSQL. PostgreSQL refuses to run as root, so root hands it to an unprivileged system
 * user; anyone else runs it as himself. What that user must reach is checked before, since PostgreSQL's own message
 * would only say "Permission denied".
 */

import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { OperatorError } from '../lib/operator-error.ts';

export interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

export class EmbeddedPostgresError extends OperatorError {}

/** Asked for in this order; `nobody` only where no other can be made, since other services may run as it too. */
const PREFERRED_USERS = ['hammerhead', 'postgres', '_postgres'];
const CREATED_USER = 'hammerhead';
const LAST_RESORT = 'nobody';

const EXECUTE = 0o1;

/**
 * The user to run PostgreSQL as, or undefined for the one that runs this process. `owner` is the uid that owns an
 * existing data folder: whoever made it goes on with it.
 */
export async function chooseUser(owner: number | undefined): Promise<SystemUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = await loadUsers();
  const known = users.find(({ uid }) => uid !== 0 && uid === owner);
  if (known !== undefined) return known;
  for (const name of PREFERRED_USERS) {
    const found = users.find((user) => user.name === name && user.uid !== 0);
    if (found !== undefined) return found;
  }
  return (await createUser()) ?? findUser(users, LAST_RESORT);
}

/** The first folder on the way to `path` that `user` can't pass through, or `path` itself when he can't read it. */
export async function findUnreachable(path: string, user: SystemUser): Promise<string | undefined> {
  const parents: string[] = [];
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    parents.unshift(folder);
    if (folder === dirname(folder)) break;
  }
  for (const folder of parents) if (!(await allows(folder, user, EXECUTE))) return folder;
  return undefined;
}

/** Whether the mode bits let `user` do what `bits` (4 read, 2 write, 1 execute or pass) says. */
export async function allows(path: string, user: SystemUser, bits: number): Promise<boolean> {
  const { mode, uid, gid } = await stat(path);
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
  return ((mode >> shift) & bits) === bits;
}

async function loadUsers(): Promise<readonly SystemUser[]> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n');
  return lines
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= 4)
    .map(([name = '', , uid, gid]) => ({ name, uid: Number(uid), gid: Number(gid) }));
}

async function createUser(): Promise<SystemUser | undefined> {
  const options = ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', CREATED_USER];
  const created = await promisify(execFile)('useradd', options).then(
    () => true,
    () => false, // no such program (Alpine, macOS) or a read-only /etc: the last resort is there everywhere
  );
  return created ? (await loadUsers()).find(({ name }) => name === CREATED_USER) : undefined;
}

function findUser(users: readonly SystemUser[], name: string): SystemUser {
  const found = users.find((user) => user.name === name && user.uid > 0);
  if (found !== undefined) return found;
  throw new EmbeddedPostgresError(
    'PostgreSQL does not run as root, and no unprivileged system user was found for it: run "useradd --system ' +
      `${CREATED_USER}", start Hammerhead as another user, or set database.url`,
  );
}
