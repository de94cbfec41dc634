/**
 * Fresh proof of identity for what a stolen access token must not be enough for.
 */
import type { PasswordLogin } from '../../accounts/password-login.ts';
import type { Uia, UiaOutcome } from '../../accounts/uia.ts';
import type { Requester } from '../../http/endpoint.ts';
import type { JsonObject } from '../../protocol/pdu.ts';

export interface Confirmation {
  readonly requester: Requester;
  /** Method and path, with parameters: what is confirmed. */
  readonly operation: string;
  readonly body: JsonObject;
}

/** Asks for the requester's password. */
export function confirmByPassword(
  { uia, login }: { readonly uia: Uia; readonly login: PasswordLogin },
  { requester, operation, body }: Confirmation,
): Promise<UiaOutcome> {
  return uia.authorize({
    operation,
    owner: requester,
    body,
    flows: [['m.login.password']],
    stages: { 'm.login.password': login.stage(requester) },
  });
}
