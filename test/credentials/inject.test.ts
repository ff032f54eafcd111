// Which request gets which credential, and which gets none. src/credentials/services.ts has what is
// bound where, src/credentials/request-parts.ts what is changed, src/credentials/held.ts what
// stands for it.
import { inspect } from 'node:util';
import fc from 'fast-check';
import tap from 'tap';
import { SUBSTITUTED_SECRETS_BYTES_MAX } from '../../src/base/limits.ts';
import type { Binding, CustomBinding } from '../../src/credentials/binding.ts';
import { type CredentialRequest, Credentials } from '../../src/credentials/inject.ts';
import { Needles } from '../../src/credentials/mask.ts';
import { newPlaceholderKey, placeholderFor } from '../../src/credentials/placeholder.ts';
import { SERVICES, serviceBinding } from '../../src/credentials/services.ts';

const VALUE = 'sk-live-$&-0123456789';

function service(
  name: string,
  changes: Partial<Parameters<typeof serviceBinding>[1]> = {},
): Binding {
  const policy = 'if-sentinel-or-absent';
  return serviceBinding(name, {
    id: `id-${name}`,
    scope: 0,
    value: VALUE,
    policy,
    plaintext: false,
    onDemand: false,
    scrub: 'off',
    ...changes,
  });
}

function custom(changes: Partial<CustomBinding> = {}): CustomBinding {
  return {
    kind: 'custom',
    id: 'id-custom',
    scope: 0,
    hosts: ['**.example.com'],
    plaintext: false,
    onDemand: false,
    scrub: 'off',
    value: VALUE,
    env: 'TOKEN',
    placeholder: 'sbx-cs-{rand}',
    placeholderKey: 'ab'.repeat(32),
    in: ['fields', 'query'],
    ...changes,
  };
}

function request(
  host: string,
  fields: string[],
  changes: Partial<CredentialRequest> = {},
): CredentialRequest {
  return {
    scope: 1,
    host,
    port: 443,
    secure: true,
    fields: ['host', host, ...fields],
    path: '/',
    ...changes,
  };
}

function fieldsOf(flat: readonly string[]): Record<string, string> {
  const pairs = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
  return Object.fromEntries(pairs.slice(1));
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
}

tap.test('each service in its own field', (t) => {
  for (const [name, { hosts }] of Object.entries(SERVICES)) {
    const credentials = new Credentials([service(name)]);
    for (const host of hosts) {
      const { fields, injected } = credentials.apply(request(host, []));
      t.same(injected, [`id-${name}`], host);
      t.equal(
        fields.filter((text) => text.includes(VALUE)).length,
        host.includes('gist') || host === 'github.com' ? 0 : 1,
      );
    }
  }
  const of = (name: string, host: string) =>
    fieldsOf(new Credentials([service(name)]).apply(request(host, [])).fields);
  t.same(of('anthropic', 'api.anthropic.com'), { 'x-api-key': VALUE });
  t.same(of('openai', 'api.openai.com'), { authorization: `Bearer ${VALUE}` });
  t.same(of('google', 'generativelanguage.googleapis.com'), { 'x-goog-api-key': VALUE });
  t.same(of('github', 'api.github.com'), { authorization: `Bearer ${VALUE}` });
  t.same(of('github', 'github.com'), { authorization: basic('x-access-token', VALUE) });
  t.same(of('github', 'example.com'), {}, 'nowhere else');
  t.same(of('github', 'xgithub.com'), {});
  t.same(of('github', 'www.github.com'), {});
  t.end();
});

const OWN = ['X-Api-Key', 'mine'];
const SENTINEL = ['x-api-key', 'proxy-managed'];

for (const [what, policy, sent, injected] of [
  ['nothing', 'if-sentinel-or-absent', [], true],
  ['the sentinel', 'if-sentinel-or-absent', SENTINEL, true],
  ['its own', 'if-sentinel-or-absent', OWN, false],
  ['a cookie alone', 'if-sentinel-or-absent', ['cookie', 'a=1'], true],
  ['nothing', 'if-sentinel', [], false],
  ['the sentinel', 'if-sentinel', SENTINEL, true],
  ['the sentinel in Bearer', 'if-sentinel', ['authorization', 'Bearer proxy-managed'], true],
  ['the sentinel in Basic', 'if-sentinel', ['authorization', basic('me', 'proxy-managed')], true],
  ['its own', 'if-sentinel', OWN, false],
  ['its own', 'always', OWN, true],
] as const) {
  tap.test(`${policy}: a client that sends ${what}`, (t) => {
    const credentials = new Credentials([service('anthropic', { policy })]);
    const given = request('api.anthropic.com', [...sent]);
    const result = credentials.apply(given);
    t.equal(result.injected.length, injected ? 1 : 0);
    if (injected)
      t.same(fieldsOf(result.fields), { 'x-api-key': VALUE }, 'and nothing else to authenticate');
    else t.equal(result.fields, given.fields, 'untouched');
    t.end();
  });
}

tap.test('nothing that authenticates is left beside an injected credential', (t) => {
  for (const [name, { hosts, authFields, authQuery }] of Object.entries(SERVICES)) {
    const credentials = new Credentials([service(name, { policy: 'always' })]);
    const names = [...authFields, 'cookie'].flatMap((field) => [field, field.toUpperCase()]);
    const sent = names.flatMap((field) => [field, 'attacker']);
    const query = authQuery.map(
      (one) => `${one}=attacker&%${one.charCodeAt(0).toString(16)}${one.slice(1)}=attacker`,
    );
    const path = `/v1?keep=%2F+1&${query.join('&')}`;
    const result = credentials.apply(request(hosts[0] ?? '', sent, { path }));
    t.notMatch(result.fields.join(), /attacker/, name);
    t.equal(result.path, '/v1?keep=%2F+1');
  }
  const google = new Credentials([service('google', { policy: 'always' })]);
  const path = '/v1?oauth_token=attacker'; // A query parameter of all Google APIs, as are the others.
  t.equal(google.apply(request('aiplatform.googleapis.com', [], { path })).path, '/v1');
  const onlyQuery = new Credentials([service('google')]).apply(
    request('generativelanguage.googleapis.com', [], { path: '/v1?key=proxy-managed' }),
  );
  t.equal(onlyQuery.path, '/v1');
  t.equal(onlyQuery.injected.length, 1, 'the sentinel in the query counts');
  t.end();
});

tap.test("the sandbox's own comes before the global one, and is nobody else's", (t) => {
  const credentials = new Credentials([
    service('openai', { id: 'global', value: 'for-all' }),
    service('openai', { id: 'own', scope: 7, value: 'for-seven' }),
  ]);
  for (const [scope, value] of [
    [7, 'for-seven'],
    [8, 'for-all'],
  ] as const) {
    const { fields } = credentials.apply(request('api.openai.com', [], { scope }));
    t.same(fieldsOf(fields), { authorization: `Bearer ${value}` });
  }
  t.match(credentials.explain(7, 'api.openai.com', 443), [
    { id: 'own', name: 'openai', kind: 'service' },
  ]);
  t.notMatch(inspect(credentials.explain(7, 'api.openai.com', 443)), 'for-');
  t.end();
});

tap.test('a placeholder is replaced where its secret goes, in this sandbox', (t) => {
  const binding = custom();
  const mine = placeholderFor(binding, 1);
  t.match(mine, /^sbx-cs-[0-9a-f]{32}$/);
  const credentials = new Credentials([binding]);
  const { fields, path, injected } = credentials.apply(
    request(
      'api.example.com',
      ['authorization', `token ${mine}`, 'x-auth', basic('me', mine), 'x-other', 'same'],
      {
        path: `/a/${mine}?q=${mine}&r=%73${mine.slice(1)}&s=%20x`,
      },
    ),
  );
  t.same(fieldsOf(fields), {
    authorization: `token ${VALUE}`,
    'x-auth': basic('me', VALUE),
    'x-other': 'same',
  });
  const value = encodeURIComponent(VALUE);
  t.equal(path, `/a/${mine}?q=${value}&r=${value}&s=%20x`, 'the path itself is not touched');
  t.same(injected, ['id-custom']);
  const inFields = new Credentials([custom({ in: ['fields'] })]);
  t.equal(
    inFields.apply(request('a.example.com', [], { path: `/?q=${mine}` })).path,
    `/?q=${mine}`,
  );
  t.end();
});

tap.test('a placeholder anywhere else is refused', (t) => {
  const binding = custom();
  const other = placeholderFor(binding, 2);
  const credentials = new Credentials([
    binding,
    custom({
      id: 'fixed',
      env: 'FIXED',
      placeholder: 'my-fixed.placeholder',
      hosts: ['a.test:8443'],
    }),
  ]);
  const misused = { code: 'SALLYPORT_CREDENTIAL_MISUSED' };
  for (const [what, given] of [
    ['another host', request('evil.test', ['x', placeholderFor(binding, 1)])],
    [
      'another host, in Basic',
      request('evil.test', ['authorization', basic('me', placeholderFor(binding, 1))]),
    ],
    [
      'another host, in the query',
      request('evil.test', [], { path: `/?a=${placeholderFor(binding, 1)}` }),
    ],
    ['the root of a wildcard', request('example.com', ['x', placeholderFor(binding, 1)])],
    ["another sandbox's placeholder", request('a.example.com', ['x', other])],
    ['another port', request('a.test', ['x', 'my-fixed.placeholder'])],
  ] as const) {
    t.throws(() => credentials.apply(given), misused, what);
  }
  t.doesNotThrow(() => credentials.apply(request('a.test', ['x', 'my-fixedXplaceholder'])));
  t.match(
    credentials.apply(request('a.test', ['x', 'my-fixed.placeholder'], { port: 8443 })).fields,
    ['host', 'a.test', 'x', VALUE],
  );
  t.end();
});

tap.test('over plain HTTP nothing is sent, and a placeholder is refused', (t) => {
  const plain = { secure: false, port: 80 };
  const credentials = new Credentials([service('openai'), custom()]);
  const refused = { code: 'SALLYPORT_CREDENTIAL_PLAINTEXT', status: 403 };
  t.throws(
    () => credentials.apply(request('a.example.com', ['x', placeholderFor(custom(), 1)], plain)),
    refused,
  );
  t.throws(
    () =>
      credentials.apply(
        request('api.openai.com', ['authorization', 'Bearer proxy-managed'], plain),
      ),
    refused,
  );
  t.same(credentials.apply(request('api.openai.com', [], plain)).injected, []);
  const allowed = new Credentials([service('openai', { plaintext: true })]);
  t.equal(allowed.apply(request('api.openai.com', [], plain)).injected.length, 1);
  t.end();
});

tap.test('what cannot be had is an error, not a request without', (t) => {
  const credentials = new Credentials([service('openai', { value: '' })]);
  t.throws(() => credentials.apply(request('api.openai.com', [])), {
    code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE',
    status: 502,
  });
  t.end();
});

tap.test('a value cannot break out of its field', (t) => {
  for (const value of ['a\r\nX: y', 'a\nb', 'a\0b', 'a\x7fb', 'ä']) {
    t.throws(() => new Credentials([service('openai', { value })]), {
      code: 'SALLYPORT_SECRET_INVALID',
    });
  }
  t.end();
});

tap.test('without credentials nothing is done at all', (t) => {
  const given = request('api.openai.com', ['authorization', 'Bearer mine']);
  const result = new Credentials([]).apply(given);
  t.equal(result.fields, given.fields);
  t.equal(result.path, given.path);
  t.end();
});

tap.test('no dump of the credentials shows a value', (t) => {
  const credentials = new Credentials([service('openai'), custom()]);
  credentials.apply(request('api.openai.com', []));
  for (const text of [
    inspect(credentials, { depth: 9, showHidden: true }),
    JSON.stringify(credentials),
    String(credentials),
  ]) {
    t.notMatch(text, VALUE.slice(0, 8));
  }
  t.not(newPlaceholderKey(), newPlaceholderKey());
  t.end();
});

tap.test('wherever it is sent, a secret reaches only what it is bound to', (t) => {
  const hosts = fc.constantFrom(
    'api.openai.com',
    'a.example.com',
    'example.com',
    'evil.test',
    'api.openai.com.evil.test',
  );
  const texts = fc.constantFrom(
    'proxy-managed',
    placeholderFor(custom(), 1),
    placeholderFor(custom(), 2),
    'plain',
  );
  const sent = fc.array(fc.tuple(fc.constantFrom('authorization', 'X-Api-Key', 'x'), texts), {
    maxLength: 4,
  });
  const credentials = new Credentials([
    service('openai', { value: 'secret-of-openai' }),
    custom({ value: 'secret-of-example' }),
  ]);
  fc.assert(
    fc.property(hosts, sent, fc.boolean(), texts, (host, fields, secure, query) => {
      const given = request(host, fields.flat(), { secure, path: `/?key=${query}` });
      let out = '';
      try {
        const { fields: after, path } = credentials.apply(given);
        out = after.join('\n') + path;
      } catch {
        return true;
      }
      if (!secure) return !out.includes('secret-of');
      if (out.includes('secret-of-openai') && host !== 'api.openai.com') return false;
      return !out.includes('secret-of-example') || host === 'a.example.com';
    }),
    { numRuns: 2_000 },
  );
  t.pass();
  t.end();
});

tap.test('a placeholder that begins with another one is itself', (t) => {
  const short = custom({ env: 'A', id: 'short', placeholder: 'GITLAB_TOKEN', value: 'one' });
  const long = custom({ env: 'B', id: 'long', placeholder: 'GITLAB_TOKEN_2', value: 'two' });
  for (const bindings of [
    [short, long],
    [long, short],
  ]) {
    const { fields } = new Credentials(bindings).apply(
      request('a.example.com', ['x-one', 'GITLAB_TOKEN', 'x-two', 'GITLAB_TOKEN_2']),
    );
    t.match(fieldsOf(fields), { 'x-one': 'one', 'x-two': 'two' });
  }
  t.end();
});

tap.test('a small request does not become a large one', (t) => {
  const value = 'v'.repeat(4_096);
  const binding = custom({ placeholder: 'ABCDEFGH', value, in: ['fields', 'query', 'content'] });
  const credentials = new Credentials([binding]);
  const count = SUBSTITUTED_SECRETS_BYTES_MAX / value.length;
  const tooLarge = {
    code: 'SALLYPORT_CREDENTIAL_TOO_LARGE',
    message: /^[^v]*would have more than 1048576 bytes$/,
  };
  const to = request('a.example.com', []);
  const texts = (more: number) => 'ABCDEFGH'.repeat(count + more);
  const content = (more: number) =>
    credentials.applyToContent(to, Buffer.from(texts(more)), 'text/plain')?.content.length;
  t.equal(content(0), SUBSTITUTED_SECRETS_BYTES_MAX);
  t.throws(() => content(1), tooLarge);
  const apply = (fields: string[], path = '/') => credentials.apply({ ...to, fields, path });
  t.equal(apply(['a', texts(0)]).fields[1]?.length, SUBSTITUTED_SECRETS_BYTES_MAX);
  t.throws(() => apply(['a', texts(1)]), tooLarge);
  t.throws(() => apply([], `/?a=${texts(1)}`), tooLarge);
  t.throws(() => apply(['a', texts(-1)], '/?a=ABCDEFGH&b=ABCDEFGH'), tooLarge, 'taken together');
  t.end();
});

tap.test('what is looked for in answers is held once for all destinations', (t) => {
  const again = custom({ env: 'B', id: 'again', scrub: 'strict' });
  const credentials = new Credentials([custom({ scrub: 'pass' }), again]);
  const at = (host: string, port: number) => credentials.scrubbing(1, host, port);
  const first = at('a.example.com', 443);
  t.equal(first?.strict, true);
  t.equal(first?.needles.all.length, new Needles([VALUE]).all.length, 'each secret once');
  for (const other of [at('b.example.com', 443), at('a.example.com', 8443)]) {
    t.equal(other?.needles.all[0], first?.needles.all[0]);
  }
  t.equal(at('example.org', 443), null);
  t.end();
});
