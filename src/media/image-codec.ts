/**
 * The only door to the image library. Of its decoders those of four formats are left on, whatever a file claims to be;
 * a file's first bytes have to agree, and its dimensions are looked at before a pixel is decoded. SVG is never rendered.
 */
import { open } from 'node:fs/promises';
import sharp, { type Sharp } from 'sharp';
import { type ImageType, sniffImageType } from './image-type.ts';
import { type Box, fitInto, type ThumbnailMethod } from './thumbnail-sizes.ts';

export interface ImageInfo extends Box {
  readonly type: ImageType;
  /** 1 for still images. */
  readonly frames: number;
  /** PNGs that move: the library shows their first frame only. */
  readonly isAnimatedPng: boolean;
}

export interface RenderOptions {
  readonly path: string;
  readonly info: ImageInfo;
  /** Undefined for the full size. */
  readonly box: Box | undefined;
  readonly method: ThumbnailMethod;
  readonly animated: boolean;
}

export interface RenderedImage {
  readonly bytes: Buffer;
  readonly contentType: ImageType;
}

export interface ImageCodec {
  /** Looks at a file's path, or at bytes; undefined for what is no image, or none that can be decoded. */
  inspect(source: string | Buffer): Promise<ImageInfo | undefined>;
  /** Undefined where the image turns out to be broken. */
  render(options: RenderOptions): Promise<RenderedImage | undefined>;
}

const DECODERS = ['VipsForeignLoadJpeg', 'VipsForeignLoadPng', 'VipsForeignLoadWebp', 'VipsForeignLoadNsgif'];
/** An image of the largest size takes about two seconds of one core. */
const TIMEOUT_SECONDS = 20;
/** Before the pixels of a PNG come its header, colors and perhaps a color profile: the sign of an animation is there. */
const HEAD_BYTES = 64 * 1024;
const JPEG_QUALITY = 80;
const WEBP_QUALITY = 75;

export function createImageCodec(options: { readonly maxPixels: number }): ImageCodec {
  sharp.block({ operation: ['VipsForeignLoad'] });
  sharp.unblock({ operation: DECODERS });
  // One core per image: how many are at work is decided by whoever calls.
  sharp.concurrency(1);
  sharp.cache(false);
  return {
    inspect,
    async render(request) {
      const { path, info, animated } = request;
      const pages = animated ? info.frames : 1;
      try {
        const image = sharp(path, { limitInputPixels: options.maxPixels, pages, autoOrient: true, failOn: 'error' });
        const sized = request.box === undefined ? image : resize(image, request.box, request);
        const { encoded, contentType } = await encode(sized.timeout({ seconds: TIMEOUT_SECONDS }), request);
        return { bytes: await encoded.toBuffer(), contentType };
      } catch {
        // The library tells by its messages only what it disliked; the file exists, so it is the image.
        return undefined;
      }
    },
  };
}

async function inspect(source: string | Buffer): Promise<ImageInfo | undefined> {
  const head = typeof source === 'string' ? await readHead(source) : source.subarray(0, HEAD_BYTES);
  const type = sniffImageType(head);
  if (type === undefined) return undefined;
  try {
    const { autoOrient, pages = 1 } = await sharp(source, { limitInputPixels: false }).metadata();
    const isAnimatedPng = type === 'image/png' && head.includes('acTL');
    return { type, width: autoOrient.width, height: autoOrient.height, frames: pages, isAnimatedPng };
  } catch {
    // See above.
    return undefined;
  }
}

async function readHead(path: string): Promise<Buffer> {
  await using handle = await open(path, 'r');
  const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(HEAD_BYTES) });
  return buffer.subarray(0, bytesRead);
}

function resize(image: Sharp, box: Box, { method, info }: RenderOptions): Sharp {
  const { width, height } = fitInto(box, method, info);
  return image.resize({ width, height, fit: method === 'crop' ? 'cover' : 'fill' });
}

/** Pictures stay what they are where that is a common format of stills; what moves is WebP, as the spec prefers. */
async function encode(
  image: Sharp,
  { info, animated, path }: RenderOptions,
): Promise<{ encoded: Sharp; contentType: ImageType }> {
  if (animated) return { encoded: image.webp({ quality: WEBP_QUALITY, effort: 2 }), contentType: 'image/webp' };
  const isOpaqueWebp = info.type === 'image/webp' && !(await sharp(path).metadata()).hasAlpha;
  if (info.type === 'image/jpeg' || isOpaqueWebp) {
    return { encoded: image.jpeg({ quality: JPEG_QUALITY }), contentType: 'image/jpeg' };
  }
  return { encoded: image.png({ compressionLevel: 6 }), contentType: 'image/png' };
}
