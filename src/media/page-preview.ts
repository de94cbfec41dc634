/**
 * From a page to its preview: fetches the page, its oEmbed description where the page says too little, and its picture.
 * Each of them goes through the same guarded client.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
 */
import { parseJsonText } from '../lib/parse-json.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import { essenceOf } from './content-type.ts';
import { FetchError, type FetchedPage, type PageClient } from './page-client.ts';
import { type PageMetadata, parsePage } from './page-metadata.ts';
import { decodePage } from './page-text.ts';

export interface PageParts {
  /** `og:` properties without the image. */
  readonly properties: JsonObject;
  /** The picture's bytes, of a type that is still to be found out. */
  readonly image: Buffer | undefined;
}

export interface PagePreviewOptions {
  readonly client: PageClient;
  readonly maxImageBytes: number;
}

/** What a page says about itself stands at its beginning. */
const MAX_PAGE_BYTES = 1024 * 1024;
const MAX_OEMBED_BYTES = 64 * 1024;
const MAX_TEXT_LENGTH = 1_000;
const PAGE_TYPES: ReadonlySet<string> = new Set(['text/html', 'application/xhtml+xml']);
const JSON_TYPES: ReadonlySet<string> = new Set(['application/json', 'application/json+oembed', 'text/json']);
const ACCEPT_PAGE = 'text/html,application/xhtml+xml;q=0.9,image/*;q=0.5';
const ACCEPT_IMAGE = 'image/webp,image/png,image/jpeg,image/gif';

/** Throws a FetchError where the page itself cannot be had; what it only refers to may be missing. */
export async function previewPage(options: PagePreviewOptions, url: URL): Promise<PageParts> {
  const page = await options.client.fetch(url, {
    accept: ACCEPT_PAGE,
    maxBytes: (essence) => (PAGE_TYPES.has(essence) ? MAX_PAGE_BYTES : imageLimit(options, essence)),
  });
  if (page === undefined) return { properties: {}, image: undefined };
  if (!PAGE_TYPES.has(essenceOf(page.contentType))) return previewImage(page);
  const metadata = parsePage(decodePage(page.body, page.contentType));
  const oEmbed = await fetchOEmbed(options, metadata, page.url);
  const properties = describe(metadata, oEmbed);
  const images = [...metadata.images, ...(oEmbed?.thumbnail === undefined ? [] : [oEmbed.thumbnail])];
  return { properties, image: await fetchFirstImage(options, images, page.url) };
}

function previewImage(page: FetchedPage): PageParts {
  const name = page.url.pathname.split('/').at(-1);
  const properties = name === undefined || name === '' ? {} : { 'og:title': decodeName(name) };
  return page.isCut ? { properties, image: undefined } : { properties, image: page.body };
}

function describe(metadata: PageMetadata, oEmbed: OEmbed | undefined): JsonObject {
  const properties: Record<string, string> = Object.fromEntries(metadata.openGraph);
  const title = oEmbed?.title ?? metadata.title;
  if (title !== undefined) properties['og:title'] ??= title;
  if (metadata.description !== undefined) properties['og:description'] ??= metadata.description;
  if (oEmbed?.siteName !== undefined) properties['og:site_name'] ??= oEmbed.siteName;
  return properties;
}

interface OEmbed {
  readonly title: string | undefined;
  readonly siteName: string | undefined;
  readonly thumbnail: string | undefined;
}

/** https://oembed.com/ */
async function fetchOEmbed(
  { client }: PagePreviewOptions,
  { oEmbed, openGraph, images }: PageMetadata,
  base: URL,
): Promise<OEmbed | undefined> {
  if (oEmbed === undefined || (openGraph.has('og:title') && images.length > 0)) return undefined;
  const url = resolveUrl(oEmbed, base);
  const maxBytes = (essence: string) => (JSON_TYPES.has(essence) ? MAX_OEMBED_BYTES : undefined);
  const page = url && (await withoutFailure(client.fetch(url, { accept: 'application/json', maxBytes })));
  if (page === undefined || page.isCut) return undefined;
  const answer = parseObject(page.body.toString('utf8'));
  const read = (key: string): string | undefined => {
    const value: unknown = answer === undefined ? undefined : Reflect.get(answer, key);
    if (typeof value !== 'string' || value.trim() === '') return undefined;
    return value.trim().slice(0, MAX_TEXT_LENGTH).toWellFormed().replaceAll('\0', '');
  };
  const picture = read('type') === 'photo' ? read('url') : undefined;
  return {
    title: read('title') ?? read('author_name'),
    siteName: read('provider_name'),
    thumbnail: picture ?? read('thumbnail_url'),
  };
}

async function fetchFirstImage(
  options: PagePreviewOptions,
  images: readonly string[],
  base: URL,
): Promise<Buffer | undefined> {
  for (const image of images) {
    const url = resolveUrl(image, base);
    const maxBytes = (essence: string) => imageLimit(options, essence);
    const found = url && (await withoutFailure(options.client.fetch(url, { accept: ACCEPT_IMAGE, maxBytes })));
    if (found !== undefined && !found.isCut) return found.body;
  }
  return undefined;
}

/** SVG is not among the images that are shown. */
function imageLimit({ maxImageBytes }: PagePreviewOptions, essence: string): number | undefined {
  return essence.startsWith('image/') && essence !== 'image/svg+xml' ? maxImageBytes : undefined;
}

function resolveUrl(reference: string, base: URL): URL | undefined {
  return URL.canParse(reference, base) ? new URL(reference, base) : undefined;
}

async function withoutFailure<T>(fetching: Promise<T>): Promise<T | undefined> {
  try {
    return await fetching;
  } catch (cause) {
    if (cause instanceof FetchError) return undefined;
    throw cause;
  }
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = parseJsonText(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    // Not JSON: then there is no description.
    return undefined;
  }
}

function decodeName(name: string): string {
  try {
    return decodeURIComponent(name).slice(0, MAX_TEXT_LENGTH).toWellFormed().replaceAll('\0', '');
  } catch {
    // Not encoded as it should be: shown as it is.
    return name.slice(0, MAX_TEXT_LENGTH);
  }
}
