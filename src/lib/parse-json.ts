/**
 * Reading JSON text. The one place of the server that calls `JSON.parse`, for its own sake and since V8 reads some keys
 * wrongly (nodejs/node#63785, open as of Node 26.10): where an object of the same shape with a backslash in a key was read
 * before, `{"\n": 1}` comes out as `{"\\": 1}`. A peer could so make us read another event than everybody else, or a user
 * spoil what others sent. Texts that escape something in a key are rare; they are read by a parser of our own.
 */

/** Is told each number's text and the object or array that holds it; a number that is the whole value has a holder of no use. */
export type NoteNumber = (source: string, holder: object) => void;

/** As `JSON.parse`: throws a `SyntaxError` where the text is no JSON. The nesting is the caller's to bound. */
export function parseJsonText(text: string, noteNumber?: NoteNumber): unknown {
  if (hasEscapedKey(text)) return new Parser(text, noteNumber).parse();
  return noteNumber === undefined ? JSON.parse(text) : JSON.parse(text, createReviver(noteNumber));
}

/** Whether any string that a colon follows holds a backslash; one pass over the strings up to the last backslash. */
export function hasEscapedKey(text: string): boolean {
  let slash = text.indexOf('\\');
  let start = slash === -1 ? -1 : text.indexOf('"');
  while (start !== -1) {
    let end = text.indexOf('"', start + 1);
    // What is cut off is no JSON: it doesn't matter who says so.
    if (end === -1) return false;
    if (slash > start && slash < end) {
      end = endOfString(text, start);
      if (end === -1) return false;
      if (isBeforeColon(text, end + 1)) return true;
    }
    if (slash < end) slash = text.indexOf('\\', end);
    if (slash === -1) return false;
    start = text.indexOf('"', end + 1);
  }
  return false;
}

/** The index of the quote that ends the string, or -1. */
function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) return index;
    if (code === BACKSLASH) index++;
  }
  return -1;
}

function isBeforeColon(text: string, start: number): boolean {
  let index = start;
  while (isSpace(text.charCodeAt(index))) index++;
  return text[index] === ':';
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

/** The reviver's third argument tells the text of a number. */
function createReviver(noteNumber: NoteNumber) {
  return function (this: object, _key: string, value: unknown, ...[context]: readonly unknown[]): unknown {
    if (typeof value === 'number') noteNumber(sourceOf(context), this);
    return value;
  };
}

function sourceOf(context: unknown): string {
  const source: unknown = typeof context === 'object' && context !== null ? Reflect.get(context, 'source') : undefined;
  return typeof source === 'string' ? source : '';
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** Recursive descent. Strings and numbers, which V8 reads rightly, are left to it. */
class Parser {
  readonly #text: string;
  readonly #noteNumber: NoteNumber | undefined;
  #index = 0;

  constructor(text: string, noteNumber: NoteNumber | undefined) {
    this.#text = text;
    this.#noteNumber = noteNumber;
  }

  parse(): unknown {
    const whole: { '': unknown } = { '': undefined };
    const start = this.#skipSpace();
    whole[''] = this.#value();
    if (this.#skipSpace() < this.#text.length) throw this.#error();
    if (typeof whole[''] === 'number') this.#noteNumber?.(this.#text.slice(start).trimEnd(), whole);
    return whole[''];
  }

  #value(): unknown {
    this.#skipSpace();
    switch (this.#text[this.#index]) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #object(): object {
    // The last of duplicate keys counts, in its value and in how its number is written.
    const values = new Map<string, unknown>();
    const numbers = new Map<string, string>();
    this.#items('}', () => {
      this.#skipSpace();
      const key = this.#string();
      this.#expect(':');
      const start = this.#skipSpace();
      const value = this.#value();
      values.set(key, value);
      if (typeof value === 'number') numbers.set(key, this.#text.slice(start, this.#index));
      else numbers.delete(key);
    });
    const object = Object.fromEntries(values);
    for (const source of numbers.values()) this.#noteNumber?.(source, object);
    return object;
  }

  #array(): unknown[] {
    const array: unknown[] = [];
    this.#items(']', () => {
      const start = this.#skipSpace();
      const value = this.#value();
      array.push(value);
      if (typeof value === 'number') this.#noteNumber?.(this.#text.slice(start, this.#index), array);
    });
    return array;
  }

  /** What stands between an opening bracket and its closing one, with commas between the items. */
  #items(closing: string, readItem: () => void): void {
    this.#index++;
    this.#skipSpace();
    if (this.#text[this.#index] === closing) {
      this.#index++;
      return;
    }
    for (;;) {
      readItem();
      this.#skipSpace();
      const next = this.#text[this.#index];
      if (next !== ',' && next !== closing) throw this.#error();
      this.#index++;
      if (next === closing) return;
    }
  }

  #string(): string {
    const start = this.#index;
    const end = this.#text[start] === '"' ? endOfString(this.#text, start) : -1;
    if (end === -1) throw this.#error();
    this.#index = end + 1;
    return JSON.parse(this.#text.slice(start, end + 1));
  }

  #number(): number {
    NUMBER.lastIndex = this.#index;
    if (!NUMBER.test(this.#text)) throw this.#error();
    const source = this.#text.slice(this.#index, NUMBER.lastIndex);
    this.#index = NUMBER.lastIndex;
    return Number(source);
  }

  #word<Value>(word: string, value: Value): Value {
    if (!this.#text.startsWith(word, this.#index)) throw this.#error();
    this.#index += word.length;
    return value;
  }

  #expect(character: string): void {
    this.#skipSpace();
    if (this.#text[this.#index] !== character) throw this.#error();
    this.#index++;
  }

  #skipSpace(): number {
    while (isSpace(this.#text.charCodeAt(this.#index))) this.#index++;
    return this.#index;
  }

  #error(): SyntaxError {
    return new SyntaxError(`the text is no JSON at position ${this.#index}`);
  }
}
