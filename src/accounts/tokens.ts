/**
 * Secrets that we hand out. The kinds of tokens are told apart by their prefix, and are stored by their SHA-256.
 */
import { hash } from 'node:crypto';
import type { Random } from '../lib/random.ts';

/** 190 bits of chance. */
const TOKEN_LENGTH = 32;
/** 131 bits. */
const FAMILY_LENGTH = 22;
const DEVICE_ID_LENGTH = 10;
const CAPITALS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

export function createAccessToken(random: Random): string {
  return `hha_${random.alphanumeric(TOKEN_LENGTH)}`;
}

/** The first part names the log-in that the token descends from: as secret as the rest, and shared by all of them. */
export function createRefreshToken(random: Random, family: string): string {
  return `hhr_${family}_${random.alphanumeric(TOKEN_LENGTH)}`;
}

export function createTokenFamily(random: Random): string {
  return random.alphanumeric(FAMILY_LENGTH);
}

/** The family of a refresh token; undefined for those that have none, and for anything else. */
export function readTokenFamily(token: string): string | undefined {
  const [prefix, family, secret, ...more] = token.split('_', 4);
  return prefix === 'hhr' && secret !== undefined && more.length === 0 ? family : undefined;
}

export function createLoginToken(random: Random): string {
  return `hhl_${random.alphanumeric(TOKEN_LENGTH)}`;
}

export function createOpenIdToken(random: Random): string {
  return `hho_${random.alphanumeric(TOKEN_LENGTH)}`;
}

/** For session ids and one-time registration tokens. */
export function createSecret(random: Random): string {
  return random.alphanumeric(TOKEN_LENGTH);
}

/** Short and easy to read out: a name within its account, no secret. */
export function createDeviceId(random: Random): string {
  return Array.from({ length: DEVICE_ID_LENGTH }, () => CAPITALS[random.integer(CAPITALS.length)]).join('');
}

/** What is stored of a token. */
export function hashSecret(token: string): string {
  return hash('sha256', token, 'base64url');
}
