/**
 * Text as the search index knows it, the same for what is indexed and for what is searched. PostgreSQL folds the case of
 * ASCII only and takes a sentence in a script without spaces for one word, so both are done here.
 */

/** Scripts that do not part their words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;
/** PostgreSQL's text holds no NUL; the other control characters are no words either. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out.
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g;

export function toSearchText(text: string): string {
  const folded = text.normalize('NFKC').toLowerCase().replaceAll(CONTROL, ' ');
  return UNSPACED.test(folded) ? separateWords(folded) : folded;
}

function separateWords(text: string): string {
  const segmenter = new Intl.Segmenter('und', { granularity: 'word' });
  return Array.from(segmenter.segment(text), ({ segment }) => segment).join(' ');
}
