/**
 * The text of a fetched page, whatever its encoding: as its headers say, else its byte order mark, else its first lines.
 */
/** Where HTML wants the encoding to be declared. */
const DECLARATION_BYTES = 1024;

export function decodePage(body: Buffer, contentType: string): string {
  const declared = /charset\s*=\s*["']?([\w.:-]{1,40})/i;
  const head = body.toString('latin1', 0, DECLARATION_BYTES);
  const label = markOf(body) ?? declared.exec(contentType)?.[1] ?? declared.exec(head)?.[1] ?? 'utf-8';
  return createDecoder(label).decode(body);
}

function markOf(body: Buffer): string | undefined {
  if (body[0] === 0xff && body[1] === 0xfe) return 'utf-16le';
  if (body[0] === 0xfe && body[1] === 0xff) return 'utf-16be';
  return undefined;
}

function createDecoder(label: string): TextDecoder {
  try {
    return new TextDecoder(label);
  } catch {
    // An encoding that does not exist: most pages are UTF-8.
    return new TextDecoder();
  }
}
