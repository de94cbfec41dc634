/**
 * A page for clients that cannot ask for a registration token themselves: opened in a browser, it does it for them and
 * tells the window that opened it. It loads nothing, runs only the script that the spec prescribes, and what came with the
 * request is shown as text.
 *
 * https://spec.matrix.org/v1.19/client-server-api/#fallback
 */
import { hash } from 'node:crypto';
import { Type } from 'typebox';
import type { Registration } from '../../accounts/registration.ts';
import { FailedStageError, type Uia } from '../../accounts/uia.ts';
import { type Answer, bytes } from '../../http/answer.ts';
import { defineEndpoint, type Endpoint } from '../../http/endpoint.ts';
import { RAW_BODY, type RawBody } from '../../http/raw-body.ts';
import { MatrixError } from '../../protocol/errors.ts';
import { clientPaths } from './room-requests.ts';

export interface AuthFallbackOptions {
  readonly registration: Pick<Registration, 'tokenStage'>;
  readonly uia: Pick<Uia, 'completeOnPage'>;
}

const STAGE = 'm.login.registration_token';
const PATHS = clientPaths('/auth/{authType}/fallback/web');
const SPEC = 'https://spec.matrix.org/v1.19/client-server-api/#fallback';
/** A token of 64 characters and a session, with room for what browsers add. */
const MAX_FORM_BYTES = 4096;

export function authFallbackEndpoints({ registration, uia }: AuthFallbackOptions): readonly Endpoint[] {
  return [
    defineEndpoint({
      method: 'GET',
      path: PATHS,
      auth: 'none',
      query: Type.Object({ session: Type.String({ maxLength: 255 }) }),
      spec: SPEC,
      handle({ params, query }) {
        checkStage(params.authType);
        return page(200, askFor(query.session));
      },
    }),
    defineEndpoint({
      method: 'POST',
      path: PATHS,
      auth: 'none',
      rateLimit: 'registration',
      body: RAW_BODY,
      spec: SPEC,
      async handle({ params, body }) {
        checkStage(params.authType);
        const form = await readForm(body);
        const sessionId = readField(form, 'session');
        const auth = { token: readField(form, 'token').trim() };
        try {
          await uia.completeOnPage({ sessionId, type: STAGE, stage: registration.tokenStage, auth });
        } catch (error) {
          if (!(error instanceof FailedStageError)) throw error;
          return page(error.status, askFor(sessionId, error.message));
        }
        return page(200, DONE);
      },
    }),
  ];
}

function checkStage(authType: string): void {
  if (authType !== STAGE) throw new MatrixError('M_UNRECOGNIZED', 'There is no page for this stage');
}

async function readForm({ chunks }: RawBody): Promise<URLSearchParams> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES)
      throw new MatrixError('M_TOO_LARGE', `The form may have ${MAX_FORM_BYTES} bytes at most`);
    parts.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(parts).toString('utf8'));
}

function readField(form: URLSearchParams, name: string): string {
  const value = form.get(name) ?? '';
  if (value.includes('\0')) throw new MatrixError('M_INVALID_PARAM', 'The form must not contain NUL');
  return value;
}

/** As the spec has it. */
const SCRIPT = `if (window.onAuthDone) {
  window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
  window.opener.postMessage("authDone", "*");
}`;
const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem}
label,input,button{display:block;width:100%;box-sizing:border-box;font:inherit}
input,button{margin-top:.5rem;padding:.5rem}
.failed{color:#b00020}`;

const DONE = `<h1>Thank you</h1><p>You can close this window and go on in your app.</p><script>${SCRIPT}</script>`;

function askFor(session: string, problem?: string): string {
  const failure = problem === undefined ? '' : `<p class="failed" role="alert">${escapeHtml(problem)}</p>`;
  return `<h1>Registration token</h1>${failure}<form method="post">
<input type="hidden" name="session" value="${escapeHtml(session)}">
<label for="token">This server asks for a token from those who register.</label>
<input id="token" name="token" required maxlength="64" autocomplete="off" autofocus>
<button>Continue</button></form>`;
}

const source = (text: string): string => `'sha256-${hash('sha256', text, 'base64')}'`;

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': [
    "default-src 'none'",
    `script-src ${source(SCRIPT)}`,
    `style-src ${source(STYLE)}`,
    "form-action 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ].join('; '),
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  // The session stands in the address.
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

function page(status: number, body: string): Answer {
  const text = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Registration token</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>${STYLE}</style></head>
<body>${body}</body></html>`;
  return bytes(text, { status, headers: HEADERS });
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
