/**
 * Thumbnails: made when somebody asks for them first, kept as files of their own beside the content that they show. Each
 * is made once however many ask at the same time, and a few images at a time are decoded.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#thumbnails
 */
import type { Clock } from '../lib/clock.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { Database } from '../storage/database.ts';
import { insertThumbnail, loadThumbnail, type ThumbnailFile, type ThumbnailKey } from '../storage/media-thumbnails.ts';
import { createBoundedWork } from './bounded-work.ts';
import type { FoundMedia } from './downloads.ts';
import type { ImageCodec, ImageInfo } from './image-codec.ts';
import { SNIFFED_BYTES, sniffImageType } from './image-type.ts';
import { placeFile } from './place-file.ts';
import { type MediaStore, toChunks } from './store.ts';
import { type Box, chooseBox, type ThumbnailVariant } from './thumbnail-sizes.ts';

export interface Thumbnails {
  get(media: FoundMedia, request: ThumbnailVariant): Promise<ThumbnailFile>;
}

export interface ThumbnailsOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly codec: ImageCodec;
  /** Of one frame, and of all frames that are decoded together. */
  readonly maxPixels: number;
  /** Animations with more show as their first frame. */
  readonly maxFrames: number;
}

/** Each takes a core and up to 4 bytes a pixel. */
const MAX_RUNNING = 2;
/** Some seconds of work for small images. */
const MAX_WAITING = 200;
/** The largest thumbnail: a still in full size. */
const MAX_THUMBNAIL_BYTES = 64 * 1024 * 1024;
/** Stands for the image's own size. */
const FULL_SIZE: Box = { width: 0, height: 0 };

export function createThumbnails(options: ThumbnailsOptions): Thumbnails {
  const work = createBoundedWork({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING, what: 'thumbnails' });
  const underway = new Map<string, Promise<ThumbnailFile>>();
  return {
    async get(media, { method, animated, width, height }) {
      const box = chooseBox(method, { width, height }) ?? FULL_SIZE;
      const variant = { ...box, method: box === FULL_SIZE ? 'scale' : method, animated } as const;
      const key = { sourceSha256: media.sha256, ...variant };
      const known = await loadThumbnail(options.database, key);
      if (known !== undefined) return known;
      const name = JSON.stringify(key);
      const shared = underway.get(name);
      if (shared !== undefined) return shared;
      const made = work.run(() => make(options, { media, variant, key })).finally(() => underway.delete(name));
      underway.set(name, made);
      return made;
    },
  };
}

interface Making {
  readonly media: FoundMedia;
  readonly variant: ThumbnailVariant;
  readonly key: ThumbnailKey;
}

async function make(options: ThumbnailsOptions, making: Making): Promise<ThumbnailFile> {
  const { store, codec } = options;
  // Before all of it is fetched from a store that is far away.
  const { sha256, size } = making.media;
  if (size < SNIFFED_BYTES) throw noThumbnail();
  const head = await store.read(sha256, { start: 0, end: SNIFFED_BYTES - 1 });
  if (head === undefined) throw notFound();
  if (sniffImageType(head) === undefined) throw noThumbnail();
  const file = await store.withLocalFile(sha256, async (path) => {
    const info = await codec.inspect(path);
    if (info === undefined) throw noThumbnail();
    checkSize(options, making.media, info);
    const animated = making.variant.animated && isAnimatable(options, info);
    const box = making.variant.width === 0 ? undefined : making.variant;
    if (isItsOwnThumbnail(info, box, animated)) return keepOriginal(options, making, info);
    const rendered = await codec.render({ path, info, box, method: making.variant.method, animated });
    if (rendered === undefined) throw noThumbnail();
    return keepRendered(options, making, rendered);
  });
  if (file === undefined) throw notFound();
  return file;
}

function checkSize({ maxPixels }: ThumbnailsOptions, { isRemote }: FoundMedia, { width, height }: ImageInfo): void {
  if (width * height <= maxPixels) return;
  throw new MatrixError('M_TOO_LARGE', 'The image has too many pixels', { status: isRemote ? 502 : 413 });
}

function isAnimatable({ maxFrames, maxPixels }: ThumbnailsOptions, { frames, width, height }: ImageInfo): boolean {
  return frames > 1 && frames <= maxFrames && frames * width * height <= maxPixels;
}

/** Images are never enlarged; one that moves is no answer to who wants a still. */
function isItsOwnThumbnail(info: ImageInfo, box: Box | undefined, animated: boolean): boolean {
  const moves = info.frames > 1 || info.isAnimatedPng;
  if (moves && !animated) return false;
  return box === undefined || (info.width <= box.width && info.height <= box.height);
}

async function keepOriginal(options: ThumbnailsOptions, { media, key }: Making, info: ImageInfo) {
  const file = { sha256: media.sha256, size: media.size, contentType: info.type };
  await insertThumbnail(options.database, { key, file, now: options.clock.now() });
  return file;
}

async function keepRendered(
  options: ThumbnailsOptions,
  { key }: Making,
  { bytes, contentType }: { readonly bytes: Buffer; readonly contentType: string },
): Promise<ThumbnailFile> {
  await using staged = await options.store.stage(toChunks(bytes), MAX_THUMBNAIL_BYTES);
  const file = { sha256: staged.sha256, size: staged.size, contentType };
  await placeFile(options, staged, async (tx) => {
    const isKept = await insertThumbnail(tx, { key, file, now: options.clock.now() });
    if (!isKept) throw notFound();
  });
  return file;
}

const notFound = (): MatrixError => new MatrixError('M_NOT_FOUND', 'There is no such media');
const noThumbnail = (): MatrixError =>
  new MatrixError('M_UNKNOWN', 'There are no thumbnails of this kind of content', { status: 400 });
