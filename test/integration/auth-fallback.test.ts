/**
 * The page that asks for a registration token in a browser.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { sql } from '../../src/storage/sql.ts';
import { type AccountsServer, startAccountsServer } from '../support/accounts-server.ts';
import { at, textAt } from '../support/json.ts';

const V3 = '/_matrix/client/v3';
const PAGE = `${V3}/auth/m.login.registration_token/fallback/web`;
const PASSWORD = 'correct horse battery';

describe('the page for registration tokens', () => {
  let server: AccountsServer;
  before(async () => {
    server = await startAccountsServer({
      accounts: { policy: { enabled: true, requiresToken: true, token: 'sesame' } },
    });
    await server.test.database.query(sql`
      insert into registration_tokens (token, uses_allowed, created_at) values ('for.one', 1, 0)`);
  });
  after(() => server[Symbol.asyncDispose]());

  const open = async (username: string): Promise<string> =>
    textAt((await register({ username, password: PASSWORD })).body, 'session');
  const register = (body: object) => server.request('POST', `${V3}/register`, { body });
  const submit = (fields: Readonly<Record<string, string>>, path = PAGE) =>
    fetch(server.url + path, { method: 'POST', body: new URLSearchParams(fields) });

  test('passes the stage, and the client goes on with the session alone', async () => {
    const session = await open('browser');
    const shown = await fetch(`${server.url}${PAGE}?session=${session}`);
    assert.equal(shown.status, 200);
    assert.ok((await shown.text()).includes(`value="${session}"`));
    const early = await register({ username: 'browser', password: PASSWORD, auth: { session } });
    assert.deepEqual([early.status, at(early.body, 'completed')], [401, []]);
    const wrong = await submit({ session, token: 'guess' });
    assert.deepEqual([wrong.status, (await wrong.text()).includes('not valid')], [401, true]);
    const right = await submit({ session, token: ' for.one ' });
    const text = await right.text();
    assert.equal(right.status, 200);
    assert.match(text, /window\.opener\.postMessage\("authDone", "\*"\)/);
    const other = await register({ username: 'another', password: PASSWORD, auth: { session } });
    assert.equal(other.status, 403, 'the session is for one registration');
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => register({ username: 'browser', password: PASSWORD, auth: { session } })),
    );
    const [made, ...more] = answers.filter(({ status }) => status === 200);
    assert.deepEqual([at(made?.body, 'user_id'), more], ['@browser:hs1', []]);
    const spent = await submit({ session: await open('late'), token: 'for.one' });
    assert.equal(spent.status, 401, 'the token was for one account');
  });

  test('D10: whatever comes with the request is shown as text, in a page that loads and runs nothing else', async () => {
    const evil = '"><script>alert(1)</script>\'&';
    const asked = await fetch(`${server.url}${PAGE}?session=${encodeURIComponent(evil)}`);
    const answered = await submit({ session: evil, token: evil });
    for (const answer of [asked, answered, await submit({ session: await open('d10'), token: 'sesame' })]) {
      const text = await answer.text();
      assert.ok(!text.includes('<script>alert'), text);
      const policy = answer.headers.get('content-security-policy') ?? '';
      assert.match(policy, /default-src 'none'/);
      assert.match(policy, /frame-ancestors 'none'/);
      assert.equal(answer.headers.get('x-frame-options'), 'DENY');
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
      assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
      for (const [tag, content] of [...text.matchAll(/<(script|style)>(.*?)<\/\1>/gs)].map(([, a, b]) => [a, b])) {
        assert.ok(
          policy.includes(`'sha256-${hash('sha256', content ?? '', 'base64')}'`),
          `${tag} is allowed by its hash`,
        );
      }
    }
    assert.equal(asked.status, 200);
    assert.equal(answered.status, 401);
  });

  test('is there for this stage only, and takes no more than it needs', async () => {
    for (const type of ['m.login.password', 'm.login.dummy', '__proto__', '%3Cscript%3E']) {
      const { status } = await fetch(`${server.url}${V3}/auth/${type}/fallback/web?session=x`);
      assert.equal(status, 404, type);
    }
    assert.equal((await fetch(server.url + PAGE)).status, 400);
    assert.equal((await fetch(`${server.url}${PAGE}?session=${'x'.repeat(300)}`)).status, 400);
    assert.equal((await submit({ session: 'x', token: 'x'.repeat(5_000) })).status, 413);
    assert.equal((await submit({ session: 'x\0', token: 'y' })).status, 400);
    assert.equal((await submit({})).status, 401);
    const session = await open('member');
    await submit({ session, token: 'sesame' });
    const made = await register({ username: 'member', password: PASSWORD, auth: { session } });
    const token = textAt(made.body, 'access_token');
    const owned = await server.request('POST', `${V3}/account/deactivate`, { token, body: {} });
    const stolen = await submit({ session: textAt(owned.body, 'session'), token: 'sesame' });
    assert.notEqual(stolen.status, 200, 'sessions of users are none of its business');
  });
});
