// Where a registry may send a login: only where its owner would.
import t from 'tap';
import { parseChallenges, wayOf } from '../../src/credentials/challenge.ts';

const AT = { host: 'registry.test', port: 5000 };
const anywhereAtHome = { registry: 'registry.test:5000', realms: null };
const pinned = { registry: 'docker.io', realms: ['https://auth.test/token'] };

t.test('challenges as they are written', async (t) => {
  const read = (...values: string[]) =>
    parseChallenges(values)?.map(({ scheme, parameters }) => [
      scheme,
      Object.fromEntries(parameters),
    ]);
  t.same(read('Bearer realm="https://a/t",service="s p",scope="repository:a:pull,push"'), [
    ['bearer', { realm: 'https://a/t', service: 's p', scope: 'repository:a:pull,push' }],
  ]);
  t.same(read('BASIC Realm = "a \\"b\\"" , BEARER realm=x, Negotiate abc==, Other', 'Basic'), [
    ['basic', { realm: 'a "b"' }],
    ['bearer', { realm: 'x' }],
    ['negotiate', {}],
    ['other', {}],
    ['basic', {}],
  ]);
  t.same(read(), []);
  t.same(read(' , '), []);
  for (const bad of [
    'Bearer realm="a", realm="b"',
    'Bearer realm="a", REALM="b"',
    'Bearer realm="a',
    'Bearer realm="a" service="b"',
    'realm="a"',
    'Bearer realm=ä',
  ]) {
    t.equal(parseChallenges(['Basic realm="fine"', bad]), null, bad);
  }
});

t.test('realms that may have the login', async (t) => {
  for (const [binding, realm, href] of [
    [pinned, 'https://auth.test/token', 'https://auth.test/token'],
    [pinned, 'HTTPS://AUTH.test:443/token', 'https://auth.test/token'],
    [anywhereAtHome, 'https://registry.test:5000/any', 'https://registry.test:5000/any'],
  ] as const) {
    t.match(wayOf([`Bearer realm="${realm}",service="s"`], binding, AT), {
      kind: 'bearer',
      realm: { href },
      service: 's',
      scope: null,
    });
  }
  const v6 = { host: '2001:db8::1', port: 443 };
  t.match(wayOf(['Bearer realm="https://[2001:db8::1]/t"'], anywhereAtHome, v6), {
    kind: 'bearer',
  });
  t.same(wayOf(['Basic realm="x"'], anywhereAtHome, AT), { kind: 'basic' });
});

t.test('realms that may not', async (t) => {
  for (const [binding, ...realms] of [
    [
      pinned,
      'https://evil.test/token',
      'http://auth.test/token',
      'https://auth.test/token/',
      'https://auth.test/token/../other',
      'https://auth.test/Token',
      'https://auth.test/tok%65n',
      'https://auth.test/token?to=evil',
      'https://auth.test/token#x',
      'https://auth.test:444/token',
      'https://auth.test./token',
      'https://auth.test@evil.test/token',
      'https://me:pw@auth.test/token',
      'https://auth.test\\\\@evil.test/token',
      'https://evil.test/https://auth.test/token',
      'https://auth.test.evil.test/token',
      'https://xn--uth-7na.test/token',
      'https://аuth.test/token', // Cyrillic.
      'https://registry.test:5000/token',
      '//auth.test/token',
      '/token',
      'token',
      '',
      'javascript:alert(1)',
      'file:///token',
      'data:,x',
    ],
    [
      anywhereAtHome,
      'https://registry.test/token',
      'http://registry.test:5000/token',
      'https://registry.test:5001/token',
      'https://sub.registry.test:5000/token',
      'https://registry.test:5000@evil.test/token',
      'https://registry.test:5000/token?x',
      'https://evil.test/',
    ],
  ] as const) {
    for (const realm of realms) {
      const values = [`Bearer realm="${Buffer.from(realm).toString('latin1')}"`, 'Basic realm="x"'];
      t.throws(
        () => wayOf(values, binding, AT),
        { code: 'SALLYPORT_REGISTRY_REALM_REFUSED', status: 502 },
        `${realm}, although there is Basic`,
      );
    }
  }
  t.throws(() => wayOf(['Bearer service="x"'], pinned, AT), {
    code: 'SALLYPORT_REGISTRY_REALM_REFUSED',
  });
  t.throws(() => wayOf(['Basic realm="x"'], pinned, AT), {
    code: 'SALLYPORT_REGISTRY_REALM_REFUSED',
    message: /asks for the login itself/,
  });
});

t.test('ways that are not understood', async (t) => {
  for (const values of [[], ['Negotiate'], ['Basic realm="a", realm="b"'], ['Digest nonce=x']]) {
    t.throws(() => wayOf(values, anywhereAtHome, AT), { code: 'SALLYPORT_REGISTRY_LOGIN_FAILED' });
  }
});
