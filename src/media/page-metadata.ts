/**
 * What a page says about itself: OpenGraph first, then what other conventions and plain HTML give. The page is read once
 * from its start to its end, with bounds on nesting, number and length, so that no page costs more than its size.
 *
 * https://ogp.me/
 */
import { Parser } from 'htmlparser2';

export interface PageMetadata {
  /** `og:` properties, the first of each name; without those of the image. */
  readonly openGraph: ReadonlyMap<string, string>;
  readonly title: string | undefined;
  readonly description: string | undefined;
  /** Addresses of pictures, the best first, as they stand in the page. */
  readonly images: readonly string[];
  /** Where the page's oEmbed description is. */
  readonly oEmbed: string | undefined;
}

/** Pages of people have a dozen. */
const MAX_PROPERTIES = 50;
const MAX_VALUE_LENGTH = 1_000;
const MAX_TEXT_LENGTH = 500;
/** Closing a tag searches all open ones: beyond this the rest of the page is left. */
const MAX_DEPTH = 256;
const MAX_IMAGES = 3;
const OMITTED = new Set(['script', 'style', 'noscript', 'template', 'svg', 'nav', 'header', 'footer', 'aside', 'head']);
const HEADINGS = new Set(['h1', 'h2', 'h3']);

export function parsePage(html: string): PageMetadata {
  const page = new PageReader();
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        page.open(name, attributes);
        if (page.depth > MAX_DEPTH) parser.reset();
      },
      ontext: (text) => page.text(text),
      onclosetag: (name) => page.close(name),
    },
    { decodeEntities: true, lowerCaseTags: true },
  );
  for (let start = 0; start < html.length && page.depth <= MAX_DEPTH; start += SLICE) {
    parser.write(html.slice(start, start + SLICE));
  }
  return page.summarize();
}

/** Between slices the bound on nesting is looked at. */
const SLICE = 16 * 1024;

type Attributes = Readonly<Record<string, string>>;

interface Texts {
  title: string;
  heading: string;
  body: string;
}

class PageReader {
  readonly #properties = new Map<string, string>();
  readonly #links = new Map<string, string>();
  readonly #texts: Texts = { title: '', heading: '', body: '' };
  #firstImage: string | undefined;
  #isInTitle = false;
  #headingDepth = 0;
  #omittedDepth = 0;
  #drawingDepth = 0;
  depth = 0;

  open(name: string, attributes: Attributes): void {
    this.depth += 1;
    if (name === 'svg') this.#drawingDepth += 1;
    // Pictures drawn in the page have titles too.
    if (name === 'title') this.#isInTitle = this.#texts.title === '' && this.#drawingDepth === 0;
    if (HEADINGS.has(name)) this.#headingDepth += 1;
    if (OMITTED.has(name)) this.#omittedDepth += 1;
    if (name === 'meta') this.#readMeta(attributes);
    if (name === 'link') this.#readLink(attributes);
    if (name === 'img' && this.#omittedDepth === 0) this.#firstImage ??= shorten(attributes['src']);
  }

  close(name: string): void {
    this.depth -= 1;
    if (name === 'svg') this.#drawingDepth -= 1;
    if (name === 'title') this.#isInTitle = false;
    if (HEADINGS.has(name)) this.#headingDepth -= 1;
    if (OMITTED.has(name)) this.#omittedDepth -= 1;
  }

  text(text: string): void {
    if (this.#isInTitle) this.#append('title', text);
    else if (this.#omittedDepth > 0) return;
    else if (this.#headingDepth > 0) this.#append('heading', text);
    else this.#append('body', text);
  }

  summarize(): PageMetadata {
    const get = (name: string): string | undefined => this.#properties.get(name);
    const images = ['og:image:secure_url', 'og:image', 'og:image:url', 'twitter:image', 'image'].map(get);
    const found = [...images, this.#links.get('image_src'), this.#firstImage, this.#links.get('icon')];
    return {
      openGraph: new Map([...this.#properties].filter(([name]) => /^og:(?!image)/.test(name))),
      title: get('twitter:title') ?? this.#read('title') ?? this.#read('heading'),
      description: get('twitter:description') ?? get('description') ?? this.#read('body'),
      images: [...new Set(found.flatMap((image) => image ?? []))].slice(0, MAX_IMAGES),
      oEmbed: this.#links.get('oembed'),
    };
  }

  #readMeta(attributes: Attributes): void {
    const { property, name, itemprop, content } = attributes;
    const key = (property ?? name ?? itemprop ?? '').trim().toLowerCase();
    if (
      content === undefined ||
      !/^(?:og:[\w:]{1,64}|twitter:(?:title|description|image)|description|image)$/.test(key)
    ) {
      return;
    }
    if (this.#properties.size >= MAX_PROPERTIES || this.#properties.has(key)) return;
    const value = shorten(content);
    if (value !== undefined) this.#properties.set(key, value);
  }

  #readLink({ rel = '', type = '', href }: Attributes): void {
    const target = shorten(href);
    if (target === undefined) return;
    const rels = rel.toLowerCase().split(/\s+/, 8);
    const keep = (key: string): void => {
      if (!this.#links.has(key)) this.#links.set(key, target);
    };
    if (rels.includes('image_src')) keep('image_src');
    if (rels.includes('icon') || rels.includes('apple-touch-icon')) keep('icon');
    if (rels.includes('alternate') && type.toLowerCase() === 'application/json+oembed') keep('oembed');
  }

  #append(where: keyof Texts, text: string): void {
    // Twice as much as is shown, since runs of blanks shrink.
    if (this.#texts[where].length < 2 * MAX_TEXT_LENGTH) this.#texts[where] += text.slice(0, 2 * MAX_TEXT_LENGTH);
  }

  #read(where: keyof Texts): string | undefined {
    const text = shorten(this.#texts[where].replaceAll(/\s+/g, ' '));
    return text?.slice(0, MAX_TEXT_LENGTH).toWellFormed();
  }
}

/** Undefined for what is blank. */
function shorten(text: string | undefined): string | undefined {
  const trimmed = text?.trim().slice(0, MAX_VALUE_LENGTH).toWellFormed().replaceAll('\0', '');
  return trimmed === '' ? undefined : trimmed;
}
