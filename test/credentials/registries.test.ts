// Where a registry's login goes, and which requests are worth one.
import t from 'tap';
import { Credentials } from '../../src/credentials/inject.ts';
import {
  leavesLogin,
  registryBinding,
  registryName,
  scopesOf,
  withLogin,
} from '../../src/credentials/registries.ts';

const GIVEN = {
  id: 'id',
  scope: 0,
  value: 'value',
  onDemand: false,
  username: 'me',
  authEndpoint: null,
};

t.test('a registry has one name', async (t) => {
  for (const [host, name] of [
    ['ghcr.io', 'ghcr.io'],
    ['ghcr.io:443', 'ghcr.io'],
    ['index.docker.io', 'docker.io'],
    ['registry-1.docker.io:443', 'docker.io'],
    ['localhost:5000', 'localhost:5000'],
    ['registry.test:4443', 'registry.test:4443'],
    ['[2001:db8::1]:443', '[2001:db8::1]:443'],
    ['2001:db8::443', '2001:db8::443'],
    ['constructor', 'constructor'],
  ] as const) {
    t.equal(registryName(host), name, host);
  }
});

t.test('hosts have a port, and realms are exact', async (t) => {
  for (const [name, authEndpoint, hosts, realms] of [
    ['docker.io', null, ['registry-1.docker.io:443'], ['https://auth.docker.io/token']],
    ['ghcr.io', null, ['ghcr.io:443'], ['https://ghcr.io/token']],
    ['quay.io', null, ['quay.io:443'], ['https://quay.io/v2/auth']],
    ['registry.gitlab.com', null, ['registry.gitlab.com:443'], ['https://gitlab.com/jwt/auth']],
    ['quay.io', 'https://a.test/t', ['quay.io:443'], ['https://a.test/t']],
    ['localhost:5000', null, ['localhost:5000'], null],
    ['2001:db8::1/128', null, ['[2001:db8::1]:443'], null],
    ['10.1.2.3', null, ['10.1.2.3:443'], null],
    ['constructor', null, ['constructor:443'], null],
  ] as const) {
    t.match(
      registryBinding(name, { ...GIVEN, authEndpoint }),
      { kind: 'registry', registry: name, hosts, realms, plaintext: false, username: 'me' },
      name,
    );
  }
});

t.test('the login of a destination: the sandbox’s own first, and of its port alone', async (t) => {
  const own = registryBinding('ghcr.io', { ...GIVEN, id: 'own', scope: 1 });
  const all = registryBinding('ghcr.io', GIVEN);
  for (const bindings of [
    [own, all],
    [all, own],
  ]) {
    const credentials = new Credentials(bindings);
    t.equal(credentials.registryAt(1, 'ghcr.io', 443)?.id, 'own');
    t.equal(credentials.registryAt(2, 'ghcr.io', 443)?.id, 'id');
    t.equal(credentials.registryAt(2, 'ghcr.io', 80), null);
    t.equal(credentials.registryAt(2, 'sub.ghcr.io', 443), null);
    t.match(credentials.explain(2, 'ghcr.io', 443), [
      { name: 'ghcr.io', kind: 'registry', policy: /https:\/\/ghcr\.io\/token/ },
    ]);
  }
});

t.test('what a request needs leave for', async (t) => {
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const [method, path, scopes] of [
    ['GET', '/v2/', []],
    ['GET', '/v2/_catalog?n=5', ['registry:catalog:*']],
    ['GET', '/v2/alpine/manifests/3', ['repository:alpine:pull']],
    ['HEAD', `/v2/a/b/c/manifests/${digest}`, ['repository:a/b/c:pull']],
    ['GET', `/v2/li__br-a.ry/x/blobs/${digest}`, ['repository:li__br-a.ry/x:pull']],
    ['GET', '/v2/a/tags/list?last=x', ['repository:a:pull']],
    ['GET', `/v2/a/referrers/${digest}`, ['repository:a:pull']],
    ['GET', '/v2/a/manifests/b/manifests/c', ['repository:a/manifests/b:pull']],
    ['POST', '/v2/a/b/blobs/uploads/', ['repository:a/b:pull,push']],
    ['PATCH', '/v2/a/b/blobs/uploads/1-2_3=?_state=x', ['repository:a/b:pull,push']],
    ['PUT', '/v2/a/manifests/latest', ['repository:a:pull,push']],
    ['DELETE', '/v2/a/manifests/latest', ['repository:a:delete']],
    [
      'POST',
      `/v2/a/blobs/uploads/?mount=${digest}&from=other/x`,
      ['repository:a:pull,push', 'repository:other/x:pull'],
    ],
    ['POST', '/v2/a/blobs/uploads/?from=x%20repository:y:*', ['repository:a:pull,push']],
  ] as const) {
    t.strictSame(scopesOf(method, path), scopes, `${method} ${path}`);
  }
});

t.test('what is not of the API is worth nothing', async (t) => {
  for (const [method, path] of [
    ['GET', '/token'],
    ['GET', '/v2/auth'],
    ['GET', '/v2/token?scope=x'],
    ['GET', '/v2'],
    ['GET', '/v2//manifests/x'],
    ['GET', '/v2/a/../token'],
    ['GET', '/v2/a/blobs/uploads/..'],
    ['GET', '/v2/%61/manifests/x'],
    ['GET', '/v2/A/manifests/x'],
    ['GET', '/v2/a/manifests/x/../../../token'],
    ['GET', `/v2/${'a'.repeat(256)}/manifests/x`],
    ['GET', '/v1/search'],
    ['TRACE', '/v2/'],
    ['constructor', '/v2/'],
  ] as const) {
    t.equal(scopesOf(method, path), null, `${method} ${path}`);
  }
});

t.test('a long name is judged in linear time', async (t) => {
  const path = `/v2/${'a-'.repeat(15_000)}a/b/manifests/!`;
  const began = process.hrtime.bigint();
  t.equal(scopesOf('GET', path), null);
  t.ok(process.hrtime.bigint() - began < 500_000_000n);
});

t.test('a login of the client’s own stays; the sentinel is none', async (t) => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  t.ok(leavesLogin(['accept', '*/*']));
  t.ok(leavesLogin(['Authorization', basic('me:proxy-managed')]));
  t.ok(leavesLogin(['authorization', 'Bearer proxy-managed']));
  t.notOk(leavesLogin(['Authorization', basic('me:mine')]));
  t.notOk(leavesLogin(['authorization', 'Bearer proxy-managed', 'authorization', 'Bearer mine']));
  t.strictSame(withLogin(['accept', '*/*', 'Authorization', 'x', 'COOKIE', 'a=b'], 'Bearer t'), [
    'accept',
    '*/*',
    'authorization',
    'Bearer t',
  ]);
});
