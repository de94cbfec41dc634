/**
 * Which thumbnail answers a request. There is a fixed set of boxes, so that nobody can make the server compute and keep
 * one for each pixel; a request gets the smallest box that is not smaller than what it asked for.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#thumbnails
 */
export type ThumbnailMethod = 'crop' | 'scale';

export interface Box {
  readonly width: number;
  readonly height: number;
}

export interface ThumbnailVariant extends Box {
  readonly method: ThumbnailMethod;
  readonly animated: boolean;
}

/** The sizes that the spec asks for; crops in the larger ones serve avatars on sharp screens. */
const BOXES: Readonly<Record<ThumbnailMethod, readonly Box[]>> = {
  crop: [
    { width: 32, height: 32 },
    { width: 96, height: 96 },
    { width: 240, height: 240 },
    { width: 320, height: 240 },
    { width: 480, height: 480 },
    { width: 640, height: 480 },
    { width: 800, height: 800 },
  ],
  scale: [
    { width: 320, height: 240 },
    { width: 640, height: 480 },
    { width: 800, height: 600 },
  ],
};

/** The box for a request; undefined where none is large enough, and the image itself is the answer. */
export function chooseBox(method: ThumbnailMethod, { width, height }: Box): Box | undefined {
  return BOXES[method].find((box) => box.width >= width && box.height >= height);
}

/** What comes out of putting an image into a box: never larger than the image, for a crop of the box's shape. */
export function fitInto(box: Box, method: ThumbnailMethod, image: Box): Box {
  const ratios = [box.width / image.width, box.height / image.height] as const;
  if (method === 'scale') return scaleBy(image, Math.min(1, ...ratios));
  const shrink = Math.min(1, image.width / box.width, image.height / box.height);
  return scaleBy(box, shrink);
}

function scaleBy({ width, height }: Box, factor: number): Box {
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}
