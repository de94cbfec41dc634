/**
 * Accounts as one thing for the composition root: wires registration, log-in, tokens, devices and what they share.
 */
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { UserId } from '../protocol/ids.ts';
import type { Database } from '../storage/database.ts';
import { type Credentials, createCredentials } from './credentials.ts';
import { createDevices, type Devices } from './devices.ts';
import { createLoginTokens, type LoginTokens } from './login-tokens.ts';
import { createOpenIdTokens, type OpenIdTokens } from './openid-tokens.ts';
import { createPasswordHasher } from './password-hasher.ts';
import { type AttemptCounter, createPasswordLogin, type PasswordLogin } from './password-login.ts';
import { createPasswordCheck, type PasswordRequirements } from './password-strength.ts';
import { createRegistration, type Registration, type RegistrationPolicy } from './registration.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { createUia, type Uia } from './uia.ts';

export interface AccountsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly serverName: string;
  readonly policy: RegistrationPolicy;
  readonly passwordRequirements: PasswordRequirements;
  readonly pepper?: string;
  accessTokenLifetimeMs?(): number;
  readonly attempts: AttemptCounter;
  /** The authenticator's `forget`. */
  forgetTokens(accountId: number, deviceIds?: ReadonlySet<string>): void;
  isReserved?(localpart: string): boolean;
  onAccountCreated?(userId: UserId): Promise<void>;
  onDevicesDeleted?(userId: UserId, deviceIds: readonly string[]): Promise<void>;
}

export interface Accounts {
  readonly registration: Registration;
  readonly login: PasswordLogin;
  readonly sessions: Sessions;
  readonly devices: Devices;
  readonly credentials: Credentials;
  readonly loginTokens: LoginTokens;
  readonly openIdTokens: OpenIdTokens;
  readonly uia: Uia;
  /** For passwords that an administrator sets: as slow and as bounded as those of registrations. */
  hashPassword(password: string): Promise<string>;
}

export function createAccounts(options: AccountsOptions): Accounts {
  const hasher = createPasswordHasher(options.pepper === undefined ? {} : { pepper: options.pepper });
  const checkPassword = createPasswordCheck(options.passwordRequirements);
  const sessions = createSessions(options);
  const devices = createDevices(options);
  return {
    sessions,
    devices,
    registration: createRegistration({ ...options, hasher, checkPassword, sessions, devices }),
    login: createPasswordLogin({ ...options, hasher, sessions }),
    credentials: createCredentials({ ...options, hasher, checkPassword, devices }),
    loginTokens: createLoginTokens({ ...options, sessions }),
    openIdTokens: createOpenIdTokens(options),
    uia: createUia(options),
    hashPassword: (password) => hasher.hash(password),
  };
}
