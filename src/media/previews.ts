/**
 * URL previews: made once an hour for each address, however many ask, and kept with their picture as external media.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
 */
import { hash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { compileGlob } from '../lib/glob.ts';
import type { Logger } from '../lib/logger.ts';
import { createNetworkPolicy, type ResolveName } from '../lib/network-policy.ts';
import type { ProxySettings } from '../lib/outbound-connector.ts';
import type { Random } from '../lib/random.ts';
import { MatrixError } from '../protocol/errors.ts';
import type { ServerName } from '../protocol/ids.ts';
import type { JsonObject } from '../protocol/pdu.ts';
import type { Database } from '../storage/database.ts';
import { insertMedia } from '../storage/media.ts';
import { loadPreview, savePreview } from '../storage/media-previews.ts';
import { type BoundedWork, createBoundedWork } from './bounded-work.ts';
import type { ImageCodec } from './image-codec.ts';
import { createMediaId, formatMxc } from './mxc.ts';
import { createPageClient, FetchError, type PageClient } from './page-client.ts';
import { previewPage } from './page-preview.ts';
import { placeFile } from './place-file.ts';
import { type MediaStore, toChunks } from './store.ts';

export interface PreviewSettings {
  readonly userAgent: string;
  /** Networks that may be reached although they are not public. */
  readonly allowedNetworks: readonly string[];
  /** Networks that may not be reached although they are public. */
  readonly deniedNetworks: readonly string[];
  /** Empty for any. */
  readonly ports: readonly number[];
  /** Globs of host names. */
  readonly blockedHosts: readonly string[];
  readonly maxImageBytes: number;
  readonly proxy?: ProxySettings | undefined;
}

export interface Previews extends AsyncDisposable {
  get(url: string): Promise<JsonObject>;
}

export interface PreviewsOptions {
  readonly database: Database;
  readonly store: MediaStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly serverName: ServerName;
  readonly codec: ImageCodec;
  readonly settings: PreviewSettings;
  readonly resolve?: ResolveName;
}

const LIFETIME_MS = 60 * 60 * 1000;
const MAX_URL_LENGTH = 4_096;
/** Each may hold a page and a picture in memory. */
const MAX_RUNNING = 8;
const MAX_WAITING = 200;

interface Previewing extends PreviewsOptions {
  readonly client: PageClient;
  readonly work: BoundedWork;
}

export function createPreviews(options: PreviewsOptions): Previews {
  const { database, clock, settings } = options;
  const blocked = settings.blockedHosts.map((glob) => compileGlob(glob, { caseInsensitive: true }));
  const client = createPageClient({
    ...settings,
    clock,
    policy: createNetworkPolicy({ allowed: settings.allowedNetworks, denied: settings.deniedNetworks }),
    isBlockedHost: (host) => blocked.some((matches) => matches(host)),
    resolve: options.resolve,
  });
  const work = createBoundedWork({ maxRunning: MAX_RUNNING, maxWaiting: MAX_WAITING, what: 'previews' });
  const underway = new Map<string, Promise<JsonObject>>();
  const loadOrMake = async (url: URL, urlHash: string): Promise<JsonObject> =>
    (await loadPreview(database, urlHash, clock.now())) ?? make({ ...options, client, work }, url, urlHash);
  return {
    async get(text) {
      const url = readUrl(text);
      const urlHash = hash('sha256', url.href);
      const shared = underway.get(urlHash);
      if (shared !== undefined) return shared;
      // The look at what is known is part of it: whoever looked before another has fetched would fetch again.
      const made = loadOrMake(url, urlHash).finally(() => underway.delete(urlHash));
      underway.set(urlHash, made);
      return made;
    },
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await Promise.allSettled(underway.values());
    },
  };
}

function readUrl(text: string): URL {
  const url = text.length <= MAX_URL_LENGTH && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new MatrixError('M_INVALID_PARAM', 'The url is not a web address');
  }
  url.hash = '';
  return url;
}

function make(previewing: Previewing, url: URL, urlHash: string): Promise<JsonObject> {
  return previewing.work.run(async () => {
    const { properties, image } = await previewPage(
      { client: previewing.client, maxImageBytes: previewing.settings.maxImageBytes },
      url,
    ).catch((cause: unknown) => refuse(previewing, url, cause));
    const picture = image && (await storeImage(previewing, image));
    const preview = { ...properties, ...picture?.properties };
    const mediaId = picture?.mediaId ?? null;
    const expiresAt = previewing.clock.now() + LIFETIME_MS;
    await savePreview(previewing.database, { urlHash, preview, mediaId, expiresAt });
    return preview;
  });
}

/** One answer for every reason: which it is would tell about the network around this server. */
function refuse({ logger }: Previewing, url: URL, cause: unknown): never {
  if (!(cause instanceof FetchError)) throw cause;
  logger.info({ host: url.host, reason: cause.message, cause: cause.cause }, 'a page could not be previewed');
  throw new MatrixError('M_UNKNOWN', 'The page could not be previewed', { status: 502 });
}

/** Undefined for what is no image after all. */
async function storeImage(
  { store, codec, random, serverName, database, clock }: Previewing,
  image: Buffer,
): Promise<{ mediaId: string; properties: JsonObject } | undefined> {
  const info = await codec.inspect(image);
  if (info === undefined) return undefined;
  const mediaId = createMediaId(random);
  await using staged = await store.stage(toChunks(image), image.length);
  const { sha256, size } = staged;
  const now = clock.now();
  const times = { createdAt: now, storedAt: now, lastAccessAt: now };
  const key = { origin: serverName, mediaId };
  const file = { sha256, size, contentType: info.type, fileName: null };
  await placeFile({ database, clock }, staged, (tx) =>
    insertMedia(tx, { ...key, kind: 'external', userId: null, ...file, ...times }),
  );
  const properties = {
    'og:image': formatMxc(key),
    'og:image:type': info.type,
    'og:image:width': info.width,
    'og:image:height': info.height,
    'matrix:image:size': size,
  };
  return { mediaId, properties };
}
