/**
 * The media repository, put together.
 */
import type { Logger } from '../lib/logger.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { claimMediaFreeze } from '../storage/media.ts';
import { type Cleaner, createCleaner, type Retention } from './cleaner.ts';
import { createDownloads, type Downloads, type UnauthenticatedAccess } from './downloads.ts';
import { createImageCodec } from './image-codec.ts';
import { createMediaAdmin, type MediaAdmin } from './media-admin.ts';
import { openStore, type StoreOptions } from './open-store.ts';
import { createPreviews, type PreviewSettings, type Previews } from './previews.ts';
import { createRemoteBudget, type RemoteBudgetLimits } from './remote-budget.ts';
import { createRemoteMedia, type FetchRemoteFile } from './remote-media.ts';
import { createThumbnails, type Thumbnails } from './thumbnails.ts';
import { createUploadWaiters } from './upload-waiters.ts';
import { createUploads, type UploadLimits, type Uploads } from './uploads.ts';

export interface ImageLimits {
  /** Of an image that thumbnails are made of. */
  readonly maxPixels: number;
  /** Of an animation that a moving thumbnail is made of. */
  readonly maxFrames: number;
}

export interface MediaOptions extends StoreOptions {
  readonly database: Database;
  readonly logger: Logger;
  readonly serverName: ServerName;
  readonly images: ImageLimits;
  /** What follows is asked each time, since it can change while the server runs. */
  readonly limits: () => UploadLimits;
  readonly retention: () => Retention;
  readonly remoteLimits: () => RemoteBudgetLimits;
  readonly unauthenticatedAccess: () => UnauthenticatedAccess;
  /** Undefined where the server makes none. */
  readonly previews: PreviewSettings | undefined;
  readonly fetchRemoteFile?: FetchRemoteFile;
}

export interface Media extends AsyncDisposable {
  readonly uploads: Uploads;
  readonly downloads: Downloads;
  readonly thumbnails: Thumbnails;
  readonly previews: Previews | undefined;
  readonly admin: MediaAdmin;
  readonly cleaner: Cleaner;
}

/** Opens the repository and removes what an earlier process left half done; cleaning begins with `cleaner.start`. */
export async function createMedia(options: MediaOptions): Promise<Media> {
  const { database, clock, logger, images } = options;
  const store = await openStore(options);
  const staged = await store.clearStaging();
  if (staged > 0) logger.info({ staged }, 'removed uploads that were cut off');
  const waiters = createUploadWaiters(clock);
  const frozenAt = await claimMediaFreeze(database, clock.now());
  const maxBytes = (): number => options.limits().maxUploadSize;
  const budget = createRemoteBudget(clock, options.remoteLimits);
  const remote = createRemoteMedia({ ...options, store, maxBytes, budget });
  const codec = createImageCodec(images);
  const cleaner = createCleaner({ ...options, store });
  const { previews: settings } = options;
  const previews = settings && createPreviews({ ...options, store, codec, settings });
  return {
    uploads: createUploads({ ...options, store, waiters }),
    downloads: createDownloads({ ...options, store, waiters, remote, frozenAt }),
    thumbnails: createThumbnails({ database, store, clock, codec, ...images }),
    previews,
    admin: createMediaAdmin({ ...options, store }),
    cleaner,
    async [Symbol.asyncDispose]() {
      await cleaner[Symbol.asyncDispose]();
      await previews?.[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}
