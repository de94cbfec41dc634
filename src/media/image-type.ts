/**
 * What an image is, by its first bytes and nothing else. Only these four are ever given to a decoder: every other one,
 * and SVG before all, has had too many holes.
 */
export type ImageType = 'image/jpeg' | 'image/png' | 'image/gif' | 'image/webp';

/** As many bytes as `sniffImageType` looks at. */
export const SNIFFED_BYTES = 12;

export function sniffImageType(head: Buffer): ImageType | undefined {
  if (head.length < SNIFFED_BYTES) return undefined;
  const text = head.toString('latin1', 0, SNIFFED_BYTES);
  if (text.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'image/gif';
  if (text.startsWith('RIFF') && text.endsWith('WEBP')) return 'image/webp';
  return undefined;
}
