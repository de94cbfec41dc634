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

/** Longer headers name no file that anybody would want. */
const MAX_DISPOSITION = 4_096;
const EXTENDED = /;\s*filename\*\s*=\s*utf-8''([^\s;"]+)/i;
const QUOTED_NAME = /;\s*filename\s*=\s*"((?:[^"\\]|\\.)*)"/i;
const TOKEN_NAME = /;\s*filename\s*=\s*([^\s;"]+)/i;

/** The file name that the header gives, without any folder; undefined where it gives none. */
export function parseDisposition(text: string): string | undefined {
  if (text.length > MAX_DISPOSITION) return undefined;
  const extended = EXTENDED.exec(text)?.[1];
  const name = (extended === undefined ? undefined : decode(extended)) ?? plainName(text);
  const base = name?.split(/[/\\]/).at(-1)?.trim();
  return base === '' ? undefined : base;
}

function plainName(text: string): string | undefined {
  const quoted = QUOTED_NAME.exec(text)?.[1];
  return quoted === undefined ? TOKEN_NAME.exec(text)?.[1] : quoted.replaceAll(/\\(.)/g, '$1');
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    // Percent signs that stand for themselves: the plain name is what is left.
    return undefined;
  }
}
