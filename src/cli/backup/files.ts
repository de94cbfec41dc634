/**
 * Files of a backup: written once, to the disk, for the server's user alone, and hashed on the way.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { PassThrough, Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { OperatorError } from '../../lib/operator-error.ts';
import type { SavedFile } from './manifest.ts';

const PRIVATE = 0o600;

/** Writes what `source` gives, through `transforms`, into a new file. */
export async function saveStream(
  path: string,
  source: Readable,
  ...transforms: readonly Transform[]
): Promise<SavedFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  const meter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline([source, ...transforms, meter, createWriteStream(path, { flags: 'wx', mode: PRIVATE, flush: true })]);
  return { sha256: hash.digest('hex'), bytes };
}

export async function saveText(path: string, text: string): Promise<SavedFile> {
  return saveStream(path, Readable.from([Buffer.from(text)]), new PassThrough());
}

export async function hashFile(path: string): Promise<SavedFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { sha256: hash.digest('hex'), bytes };
}

/** Throws where the file is not what the manifest says. */
export async function checkFile(path: string, expected: SavedFile): Promise<void> {
  const found = await hashFile(path).catch((cause: unknown) => {
    throw new OperatorError(`the backup is damaged: ${path} can't be read`, { cause });
  });
  if (found.sha256 !== expected.sha256 || found.bytes !== expected.bytes) {
    throw new OperatorError(`the backup is damaged: ${path} is not what was saved`);
  }
}

export async function readChecked(path: string, expected: SavedFile): Promise<string> {
  await checkFile(path, expected);
  return readFile(path, 'utf8');
}
