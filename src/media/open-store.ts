/**
 * The store that the configuration asks for. The S3 client is large, so only those who use it load it.
 */
import { join } from 'node:path';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { createFileStore } from './file-store.ts';
import type { S3Settings } from './s3-store.ts';
import type { MediaStore } from './store.ts';

export interface StoreOptions {
  /** The folder of the files; with S3, that of what is on its way in. */
  readonly rootPath: string;
  /** Undefined for files. */
  readonly s3?: S3Settings | undefined;
  readonly random: Random;
  readonly clock: Clock;
}

export async function openStore({ rootPath, s3, random, clock }: StoreOptions): Promise<MediaStore> {
  if (s3 === undefined) return createFileStore({ rootPath, random });
  const { createS3Store } = await import('./s3-store.ts');
  return createS3Store({ settings: s3, spoolPath: join(rootPath, 'tmp'), random, clock });
}
