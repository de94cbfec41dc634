/**
 * Content types as uploaders claim them: kept where they are well-formed, and shown in the browser only where the spec's
 * list says that nothing can run in them.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#serving-inline-content
 */
export const UNKNOWN_TYPE = 'application/octet-stream';

/** Far longer than any real type with its parameters. */
const MAX_LENGTH = 255;
const WELL_FORMED = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\/[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*(?:;[\t\x20-\x7e]*)?$/;

const INLINE_TYPES: ReadonlySet<string> = new Set([
  'text/css',
  'text/plain',
  'text/csv',
  'application/json',
  'application/ld+json',
  'image/jpeg',
  'image/gif',
  'image/png',
  'image/apng',
  'image/webp',
  'image/avif',
  'video/mp4',
  'video/webm',
  'video/ogg',
  'video/quicktime',
  'audio/mp4',
  'audio/webm',
  'audio/aac',
  'audio/mpeg',
  'audio/ogg',
  'audio/wave',
  'audio/wav',
  'audio/x-wav',
  'audio/x-pn-wav',
  'audio/flac',
  'audio/x-flac',
]);

/** The type to store for what a client claims. */
export function cleanContentType(claimed: string | undefined): string {
  const trimmed = claimed?.trim() ?? '';
  return trimmed.length <= MAX_LENGTH && WELL_FORMED.test(trimmed) ? trimmed : UNKNOWN_TYPE;
}

export function isInlineType(contentType: string): boolean {
  return INLINE_TYPES.has(essenceOf(contentType));
}

/** `Text/HTML; charset=x` is `text/html`. */
export function essenceOf(contentType: string): string {
  const end = contentType.indexOf(';');
  return (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}
