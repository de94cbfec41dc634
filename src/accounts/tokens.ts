/**
 * Secrets that we hand out. Access and refresh tokens are told apart by their prefix, and are stored by their SHA-256.
 */
import { hash } from 'node:crypto';
import type { Random } from '../lib/random.ts';

/** 190 bits of chance. */
const TOKEN_LENGTH = 32;
const DEVICE_ID_LENGTH = 10;
const CAPITALS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';

export function createAccessToken(random: Random): string {
  return `hha_${random.alphanumeric(TOKEN_LENGTH)}`;
}

export function createRefreshToken(random: Random): string {
  return `hhr_${random.alphanumeric(TOKEN_LENGTH)}`;
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
