// What is a token in the words of a client and an endpoint, and what a sandbox gets to see instead.
import t from 'tap';
import { readTokenRequest, withoutTokens } from '../../src/credentials/token-exchange.ts';

const SENTINELS = { access: 'access-proxy-managed', refresh: 'refresh-proxy-managed' };
const REFUSED = { code: 'SALLYPORT_TOKEN_EXCHANGE_REFUSED' };
const FORM = 'application/x-www-form-urlencoded';

t.test('who asks, in a form, in JSON, by Basic', async (t) => {
  const nothing = { refreshToken: null, clientId: '', clientSecret: null, clientAuth: 'post' };
  const basic = `Basic ${Buffer.from('an%20id:s%3Acret+').toString('base64')}`;
  for (const [type, authorization, content, expected] of [
    [FORM, '', 'client_id=a+b&refresh_token=r%26', { clientId: 'a b', refreshToken: 'r&' }],
    [FORM, '', 'client_id=a&client_secret=s', { clientId: 'a', clientSecret: 's' }],
    [FORM, basic, 'x=1', { clientId: 'an id', clientSecret: 's:cret ', clientAuth: 'basic' }],
    [FORM, 'Bearer x', '', {}],
    ['', '', '%%%&&=', {}],
    [FORM, '', '{"client_id":"a"}', {}],
    [
      'application/json; charset=utf-8',
      '',
      '{"client_id":"a","refresh_token":"r","client_secret":7}',
      { clientId: 'a', refreshToken: 'r', format: 'json' },
    ],
    ['application/json', '', 'client_id=a', { format: 'json' }],
    ['application/json', '', '["client_id"]', { format: 'json' }],
    ['application/json', '', 'null', { format: 'json' }],
  ] as const) {
    const read = readTokenRequest(type, authorization, content);
    t.strictSame(read, { ...nothing, format: 'form', ...expected }, content);
  }
});

t.test('tokens are taken out of the answer, wherever they stand', async (t) => {
  const idToken = 'eyJh.eyJzdWIiOiJtZSJ9.signature';
  const { text, tokens } = withoutTokens(
    JSON.stringify({
      access_token: 'REAL-access',
      refresh_token: 'REAL-refresh',
      id_token: idToken,
      token_type: 'bearer',
      expires_in: 60,
      scope: 'a b',
      authed_user: { Access_Token: 'REAL-user', list: [{ refreshToken: 'REAL-list' }] },
    }),
    SENTINELS,
  );
  t.strictSame(JSON.parse(text), {
    access_token: SENTINELS.access,
    refresh_token: SENTINELS.refresh,
    id_token: `eyJh.eyJzdWIiOiJtZSJ9.${SENTINELS.access}`,
    token_type: 'bearer',
    expires_in: 60,
    scope: 'a b',
    authed_user: { Access_Token: SENTINELS.access, list: [{ refreshToken: SENTINELS.refresh }] },
  });
  t.strictSame(tokens, {
    accessToken: 'REAL-access',
    refreshToken: 'REAL-refresh',
    lifeMs: 60_000,
  });
  t.match(withoutTokens('{"id_token":"opaque"}', SENTINELS), {
    text: `{"id_token":"${SENTINELS.access}"}`,
    tokens: null,
  });
  t.match(withoutTokens('{"accessToken":"REAL","refreshToken":"","idToken":null}', SENTINELS), {
    text: `{"accessToken":"${SENTINELS.access}","refreshToken":"","idToken":null}`,
    tokens: { accessToken: 'REAL', refreshToken: null, lifeMs: null },
  });
  for (const text of ['{"error":"authorization_pending"}', '{}', '{"__proto__":{"a":1}}']) {
    t.strictSame(withoutTokens(text, SENTINELS), { text, tokens: null });
  }
});

t.test('a token that stands elsewhere in another spelling is found', async (t) => {
  const token = 'REAL/token+of"22';
  const claims = Buffer.from(JSON.stringify({ sub: 'me', token: 'REAL-token-of-22' }));
  for (const body of [
    { access_token: token, url: `https://x.example/#t=${encodeURIComponent(token)}` },
    { access_token: token, state: Buffer.from(`t=${token}`).toString('base64') },
    { access_token: token, state: JSON.stringify({ token }) },
    { access_token: 'REAL-token-of-22', id_token: `e.${claims.toString('base64url')}.s` },
  ]) {
    t.throws(() => withoutTokens(JSON.stringify(body), SENTINELS), REFUSED, JSON.stringify(body));
  }
});

t.test('an answer that may hold more is not passed on at all', async (t) => {
  const deep = `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`;
  for (const text of [
    '',
    'access_token=REAL&token_type=bearer',
    '[{"access_token":"REAL"}]',
    '"REAL"',
    '{"access_token":"REAL"',
    '{"access_token":"REAL","note":"see REAL"}',
    '{"access_token":"RE\\"AL","note":"see RE\\"AL"}',
    '{"access_token":"REAL","REAL":1}',
    '{"access_token":["REAL"]}',
    '{"access_token":{"value":"REAL"}}',
    '{"access_token":"REAL\\n"}',
    '{"access_token":"ok","refresh_token":"REAL\\u0000"}',
    '{"access_token":"REAL","token_type":"DPoP"}',
    deep,
  ]) {
    const error = t.throws(() => withoutTokens(text, SENTINELS), REFUSED);
    t.notMatch(String(error), 'REAL', text.slice(0, 80));
  }
});
