// What stands for tokens in a sandbox, and where it may go.
import t from 'tap';
import { Credentials } from '../../src/credentials/inject.ts';
import { type Grant, oauthBinding, type ServiceSecret } from '../../src/credentials/services.ts';
import {
  type Asked,
  holdsSentinel,
  isOwnSentinel,
  TokenEndpoints,
  tokenSentinels,
} from '../../src/credentials/token-endpoints.ts';

const KEY = 'ab'.repeat(32);
const MISUSED = { code: 'SALLYPORT_CREDENTIAL_MISUSED' };
const REAL = 'REAL-token';

function grant(name: string, changes: Partial<ServiceSecret & Grant> = {}) {
  const { client, signedOut, placeholderKey, ...secret } = {
    client: { tokenUrl: `https://${name}.example/token`, signInInside: true },
    signedOut: false,
    placeholderKey: KEY,
    id: `id-${name}`,
    scope: 0,
    value: REAL,
    policy: 'if-sentinel',
    plaintext: false,
    onDemand: true,
    scrub: 'off',
    ...changes,
  } as const;
  const to = { client, signedOut, placeholderKey };
  const binding = oauthBinding(name, [`api.${name}.example`], to, secret);
  const { tokenEndpoint } = binding;
  if (tokenEndpoint === undefined) throw new TypeError('a grant has a token endpoint');
  return { ...binding, tokenEndpoint };
}

function sentinels(name: string, scope: number, placeholderKey = KEY) {
  return tokenSentinels(grant(name, { placeholderKey }).tokenEndpoint, scope);
}

t.test('each sandbox has its own, in the form that clients expect', async (t) => {
  for (const [name, access, refresh] of [
    ['crm', /^proxy-managed-oat-[0-9a-f]{32}$/, /^proxy-managed-ort-[0-9a-f]{32}$/],
    ['anthropic', /^sk-ant-oat01-proxy-managed-[0-9a-f]{32}$/, /^sk-ant-ort01-/],
    ['openai', /^oai-oat01-proxy-managed-[0-9a-f]{32}$/, /^oai-ort01-/],
    ['cursor', /^cursor-oat-proxy-managed-[0-9a-f]{32}$/, /^cursor-ort-/],
    ['github', /^gho_[0-9A-Za-z]{36}$/, /^ghr_[0-9A-Za-z]{36}$/],
  ] as const) {
    const own = sentinels(name, 1);
    t.match(own, { access, refresh });
    const hex = (text: string) => text.slice(-32);
    const others = [
      own.access,
      own.refresh,
      sentinels(name, 2).access,
      sentinels(name, 1, 'cd'.repeat(32)).access,
    ];
    t.equal(new Set(others.map(hex)).size, 4, 'none says anything of another');
    t.ok(isOwnSentinel(grant(name), 1, own.access));
    t.ok(isOwnSentinel(grant(name), 1, own.refresh));
    t.notOk(isOwnSentinel(grant(name), 2, own.access));
    t.ok(holdsSentinel(grant(name), `x ${own.access}`));
  }
});

t.test('a sentinel serves its own sandbox, at its own hosts', async (t) => {
  const credentials = new Credentials([
    grant('crm'),
    grant('erp', { placeholderKey: 'ef'.repeat(32) }),
    grant('github', { scope: 2 }),
  ]);
  const ask = (host: string, value: string, more = {}) =>
    credentials.apply({
      scope: 1,
      host,
      port: 443,
      secure: true,
      fields: ['authorization', value],
      path: '/',
      ...more,
    });
  const { access, refresh } = sentinels('crm', 1);
  const set = { fields: ['authorization', `Bearer ${REAL}`], injected: ['id-crm'] };
  t.match(ask('api.crm.example', `Bearer ${access}`), set);
  const basic = Buffer.from(`x:${access}`).toString('base64');
  t.match(ask('api.crm.example', `Basic ${basic}`), set);
  t.match(ask('api.crm.example', 'Bearer own'), { injected: [] }, 'by its policy');
  const inQuery = { fields: [], path: `/?access_token=${access}&a=1` };
  t.match(ask('api.crm.example', '', inQuery), { ...set, path: '/?a=1' });

  const github = sentinels('github', 2).access;
  for (const [host, value, more] of [
    ['api.erp.example', access],
    ['crm.example', refresh], // Its token endpoint's host, where no API is.
    ['elsewhere.example', access],
    ['elsewhere.example', basic, { fields: ['x-any', `Basic ${basic}`] }],
    ['elsewhere.example', '', { fields: [], path: `/?q=${access.replace('-', '%2d')}` }],
    ['api.crm.example', sentinels('crm', 2).access],
    ['api.crm.example', github],
    ['api.crm.example', `eyJh.eyJz.${sentinels('erp', 1, 'ef'.repeat(32)).access}`],
  ] as const) {
    t.throws(() => ask(host, value, more), MISUSED, `${host} ${value}`);
  }
  t.throws(() => ask('api.crm.example', access, { secure: false }), {
    code: 'SALLYPORT_CREDENTIAL_PLAINTEXT',
  });
  t.match(ask('api.github.example', github, { scope: 2 }), { injected: ['id-github'] });
});

t.test('of several grants at one host, the sentinel says which', async (t) => {
  const placeholderKey = 'ef'.repeat(32);
  const erp = grant('erp', { placeholderKey, value: 'REAL-erp' });
  const credentials = new Credentials([grant('crm'), { ...erp, hosts: ['api.crm.example'] }]);
  for (const [name, key, value] of [
    ['crm', KEY, REAL],
    ['erp', placeholderKey, 'REAL-erp'],
  ] as const) {
    const { access } = sentinels(name, 1, key);
    for (const sent of [access, 'proxy-managed']) {
      const got = credentials.apply({
        scope: 1,
        host: 'api.crm.example',
        port: 443,
        secure: true,
        fields: ['authorization', `Bearer ${sent}`],
        path: '/',
      });
      const [id, token] = sent === access ? [`id-${name}`, value] : ['id-crm', REAL];
      t.match(got, { injected: [id], fields: ['authorization', `Bearer ${token}`] }, sent);
    }
  }
});

t.test('a sentinel whose grant is gone goes as it is, to where that went', async (t) => {
  const credentials = new Credentials([grant('crm', { signedOut: true, value: '' })]);
  const fields = ['authorization', `Bearer ${sentinels('crm', 1).access}`];
  const asked = { scope: 1, port: 443, secure: true, fields, path: '/' };
  t.match(credentials.apply({ ...asked, host: 'api.crm.example' }), { fields, injected: [] });
  t.throws(() => credentials.apply({ ...asked, host: 'api.erp.example' }), MISUSED);
});

/** Of `/token`, to one server or another. */
const SPELLINGS = [
  '/TOKEN',
  '//%74oken/',
  '//x/token',
  '///x;a/token;a%2Fb',
  '/./token',
  '/token?a',
  '/token;a',
  '/;a/token',
  '/\\token',
  '/%5ctoken',
  '/t%6Fken;%FF', // No UTF-8.
  '/token;a%2Fb', // Parameters first (Tomcat).
  '/token%3Fa',
  '/token%00.html',
  '/x/../token',
  '/x%2Fy/../token', // Dots first (WHATWG URL, Envoy).
  '/x%3Fy/../token',
  '/x%5Cy/../token',
  '/x//../../token', // Empty segments count (RFC 3986 section 5.2.4).
  '/%FF/%2e./t%6Fken',
  '/x/..;a/token',
  '/x;/..%2ftoken',
];

t.test('where an endpoint is, and whose', async (t) => {
  const [all, own] = [grant('crm', { scope: 0 }), grant('crm', { scope: 1, id: 'own' })];
  const endpoints = new TokenEndpoints([all, own]);
  const at = { host: 'crm.example', port: 443, path: '/token' };
  const idsAt = (scope: number, asked: Asked) => endpoints.at(scope, asked).map(({ id }) => id);
  t.strictSame(idsAt(1, at), ['own', 'id-crm']);
  t.strictSame(idsAt(2, at), ['id-crm']);
  t.strictSame(idsAt(2, { ...at, port: null }), ['id-crm']);
  for (const path of SPELLINGS) t.strictSame(idsAt(2, { ...at, path }), ['id-crm'], path);
  for (const path of ['/tokens', '/x/token', '/...', '/a..b/token', '/to%20ken', '/?/../token']) {
    t.strictSame(idsAt(2, { ...at, path }), [], path);
  }
  for (const other of [{ port: 8443 }, { host: 'x.example' }]) {
    t.strictSame(idsAt(2, { ...at, ...other }), []);
  }
  t.ok(endpoints.has(2, 'crm.example', 443));
  t.notOk(endpoints.has(2, 'crm.example', 80));
  t.notOk(new TokenEndpoints([own]).has(2, 'crm.example', 443));
  t.strictSame(new TokenEndpoints([]).at(1, at), []);
  const { access, refresh } = sentinels('crm', 1);
  t.notOk(endpoints.isMisused([all], 1, `token=${access}&refresh_token=${refresh}`));
  t.ok(endpoints.isMisused([all], 2, `token=${access}`));
  t.notOk(new TokenEndpoints([]).isMisused([all], 2, access));
});
