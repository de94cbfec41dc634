/**
 * Content-Disposition with file names of any kind: as a quoted string where plain ASCII does, else additionally encoded
 * as RFC 5987 has it. Nothing in a name can end the header.
 *
 * https://www.rfc-editor.org/rfc/rfc6266
 */
import { isInlineType } from './content-type.ts';

const PLAIN = /^[\x20-\x7e]*$/;
/** Signs that encodeURIComponent leaves and RFC 5987 does not. */
const NOT_ATTRIBUTE = /['()*]/g;
const QUOTED = /["\\]/g;
const NOT_PLAIN = /[^\x20-\x7e]/gu;

export function formatDisposition(contentType: string, fileName: string | null): string {
  const disposition = isInlineType(contentType) ? 'inline' : 'attachment';
  if (fileName === null || fileName === '') return disposition;
  const plain = fileName.replaceAll(NOT_PLAIN, '_').replaceAll(QUOTED, '\\$&');
  const quoted = `${disposition}; filename="${plain}"`;
  // Some browsers decode percent signs in quoted strings.
  if (PLAIN.test(fileName) && !fileName.includes('%')) return quoted;
  return `${quoted}; filename*=utf-8''${encodeExtended(fileName)}`;
}

function encodeExtended(text: string): string {
  const encoded = encodeURIComponent(text.toWellFormed());
  return encoded.replaceAll(NOT_ATTRIBUTE, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}
