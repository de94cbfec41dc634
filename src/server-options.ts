/**
 * From the configuration to the options of each part. What can change while the server runs is read from `live` whenever
 * it is asked for, and never kept.
 */
import { readFile } from 'node:fs/promises';
import type { PasswordRequirements } from './accounts/password-strength.ts';
import type { RegistrationPolicy } from './accounts/registration.ts';
import type { WellKnownOptions } from './api/client/well-known.ts';
import type { Config } from './config/load.ts';
import { toS3Settings } from './config/s3-settings.ts';
import type { RateLimits } from './http/rate-limiter.ts';
import type { Listener } from './http/server.ts';
import type { Secret } from './lib/logger.ts';
import type { ProxySettings } from './lib/outbound-connector.ts';
import type { MediaOptions } from './media/media.ts';
import type { JsonObject } from './protocol/pdu.ts';
import type { FederationSettings } from './server-federation.ts';

/** The configuration that holds now. */
export interface Live {
  config: Config;
}

export function rateLimits({ rateLimits: given }: Config): RateLimits {
  if (!given.enabled) return {};
  return {
    login: given.login,
    login_failed: given.loginFailed,
    registration: given.registration,
    messages: given.messages,
    joins: given.joins,
    invites: given.invites,
    room_creation: given.roomCreation,
    profile: given.profile,
    search: given.search,
    key_requests: given.keyRequests,
    reports: given.reports,
    presence: given.presence,
  };
}

export function registrationPolicy(live: Live): RegistrationPolicy {
  return {
    get enabled() {
      return live.config.registration.enabled;
    },
    get requiresToken() {
      return live.config.registration.requiresToken;
    },
    get token() {
      return live.config.registration.token?.reveal();
    },
    get guests() {
      return live.config.registration.guests;
    },
  };
}

export function passwordRequirements(live: Live): PasswordRequirements {
  return {
    get minLength() {
      return live.config.registration.passwordRequirements.minLength;
    },
    get minEntropy() {
      return live.config.registration.passwordRequirements.minEntropy;
    },
  };
}

/** A link preview reads at most so much of an image. */
const MAX_PREVIEW_IMAGE_BYTES = 10 * 1024 * 1024;

type MediaSettings = Pick<
  MediaOptions,
  'remoteLimits' | 'rootPath' | 's3' | 'images' | 'limits' | 'retention' | 'unauthenticatedAccess' | 'previews'
>;

export function mediaSettings(live: Live, userAgent: string): MediaSettings {
  const { rootPath, storage, maxImagePixels, maxImageFrames, previews } = live.config.mediaRepo;
  const { allowedNetworks, deniedNetworks, blockedHosts } = previews;
  return {
    rootPath,
    s3: storage.type === 's3' && storage.s3 !== undefined ? toS3Settings(storage.s3) : undefined,
    images: { maxPixels: maxImagePixels, maxFrames: maxImageFrames },
    limits() {
      const { mediaRepo } = live.config;
      return {
        maxUploadSize: mediaRepo.maxUploadSize,
        maxPending: mediaRepo.maxPendingUploads,
        unusedLifetime: mediaRepo.unusedExpiresAfter,
        maxUserBytes: mediaRepo.maxUserSize,
        maxUserFiles: mediaRepo.maxUserFiles,
      };
    },
    retention() {
      const { retention, remote } = live.config.mediaRepo;
      return { localMedia: retention.local, remoteMedia: retention.remote, maxRemoteBytes: remote.maxSize };
    },
    remoteLimits() {
      const { userBurst, userPerSecond } = live.config.mediaRepo.remote;
      return { burst: userBurst, perSecond: userPerSecond };
    },
    unauthenticatedAccess: () => live.config.mediaRepo.unauthenticatedAccess,
    previews: previews.enabled
      ? {
          userAgent,
          allowedNetworks,
          deniedNetworks,
          blockedHosts,
          ports: [],
          maxImageBytes: MAX_PREVIEW_IMAGE_BYTES,
          proxy: proxySettings(live.config),
        }
      : undefined,
  };
}

export function secretOption<Name extends string>(
  name: Name,
  secret: Secret | undefined,
): { readonly [N in Name]?: string } {
  // The one property that the type allows.
  return secret === undefined ? {} : ({ [name]: secret.reveal() } as { readonly [N in Name]?: string });
}

export function proxySettings({ proxy }: Config): ProxySettings | undefined {
  return proxy === undefined ? undefined : { ...proxy, resolvesNames: proxy.resolveNames };
}

export async function federationSettings(config: Config): Promise<FederationSettings> {
  const { federation } = config;
  const { certificates } = federation;
  const proxy = proxySettings(config);
  return {
    ...federation,
    proxy,
    certificates: certificates === undefined ? [] : [await readFile(certificates, 'utf8')],
  };
}

export function wellKnown({ wellKnown: { client, server } }: Config): WellKnownOptions {
  return {
    ...(client === undefined ? {} : { client: { 'm.homeserver': { base_url: client } } }),
    ...(server === undefined ? {} : { server: { 'm.server': server } }),
  };
}

/** The answer to a log-in tells the same as the well-known file, for clients that have not asked for it. */
export function loginWellKnown(config: Config): { readonly wellKnown?: JsonObject } {
  const { client } = wellKnown(config);
  return client === undefined ? {} : { wellKnown: client };
}

export async function readListener({ address, port, unix, tls }: Config['listeners'][number]): Promise<Listener> {
  if (unix !== undefined) return { unix };
  if (tls === undefined) return { address, port };
  const [certificate, key] = await Promise.all([readFile(tls.certificate, 'utf8'), readFile(tls.key, 'utf8')]);
  return { address, port, tls: { certificate, key } };
}
