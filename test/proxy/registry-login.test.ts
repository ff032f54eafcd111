// Logging in to container registries for sandboxes: what goes where, and what goes nowhere. Covers
// src/proxy/own-request.ts too.
import { mock } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import tap, { type Test } from 'tap';
import { systemClock } from '../../src/base/clock.ts';
import { REGISTRY_ANSWER_BYTES_MAX, REGISTRY_LOGIN_TIMEOUT_MS } from '../../src/base/limits.ts';
import type { RegistryBinding } from '../../src/credentials/binding.ts';
import type { Host } from '../../src/policy/host.ts';
import type { OwnServices } from '../../src/proxy/own-request.ts';
import { RegistryLogins } from '../../src/proxy/registry-login.ts';
import { ask, http2Inside, interceptor } from '../helpers/intercept.ts';
import type { TestProxy } from '../helpers/proxy.ts';
import {
  bindingOf,
  contentOf,
  LOGIN,
  noting,
  PASSWORD,
  RegistryClient,
  registry,
  type Server,
  tokenServer,
} from '../helpers/registry.ts';
import { get, outcomeAt, say } from '../helpers/wire.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

type World = {
  readonly tokens: Server;
  readonly images: Server;
  readonly proxy: TestProxy;
  readonly client: RegistryClient;
};

type Changes = {
  readonly binding?: Partial<RegistryBinding>;
  readonly denied?: boolean;
  readonly realm?: (port: number) => string;
};

/** A registry that sends to a token server, which its owner named. */
async function world(t: Test, { binding, denied, realm }: Changes = {}): Promise<World> {
  const tokens = await tokenServer(t);
  const authEndpoint = `https://localhost:${tokens.port}/token`;
  const images = await registry(t, () => realm?.(tokens.port) ?? authEndpoint);
  const allowed = denied ? [images.port] : [images.port, tokens.port];
  const bindings = [bindingOf(images.port, { authEndpoint, ...binding })];
  const proxy = await interceptor(t, allowed, { bindings });
  const client = await RegistryClient.open(t, proxy, images.port);
  return { tokens, images, proxy, client };
}

/** Neither the login nor a token reached the client. */
function nothingSeen(t: Test, { client }: Pick<World, 'client'>): void {
  for (const secret of [PASSWORD, LOGIN.slice(6), 'token-']) t.notMatch(client.all, secret);
}

tap.test('a pull: the login goes to the token server, the token to the registry', async (t) => {
  const tokens = await tokenServer(t);
  const blobs = await noting(t, (_, response) => response.end('the layer'));
  const authEndpoint = `https://localhost:${tokens.port}/token`;
  const images = await registry(
    t,
    () => authEndpoint,
    `https://localhost:${blobs.port}/signed?x=y`,
  );
  const ports = [images.port, tokens.port, blobs.port];
  const bindings = [bindingOf(images.port, { authEndpoint })];
  const proxy = await interceptor(t, ports, { bindings });
  const client = await RegistryClient.open(t, proxy, images.port);

  t.match(await client.ask('/v2/'), { status: 200, text: 'answer to /v2/' });
  t.match(await client.ask('/v2/a/b/manifests/1', { method: 'HEAD' }), { status: 200 });
  t.match(await client.ask('/v2/a/b/manifests/1'), { status: 200 });
  const redirect = await client.ask(`/v2/a/b/blobs/${DIGEST}`);
  t.equal(redirect.status, 307);
  const url = new URL(redirect.location);
  const elsewhere = await RegistryClient.open(t, proxy, Number(url.port));
  t.equal((await elsewhere.ask(`${url.pathname}${url.search}`)).text, 'the layer');

  t.strictSame(tokens.seen, [
    {
      asked: 'GET /token?service=tests&scope=repository%3Auser%2Fimage%3Apull',
      authorization: LOGIN,
    },
    { asked: 'GET /token?service=tests&scope=repository%3Aa%2Fb%3Apull', authorization: LOGIN },
  ]);
  t.strictSame(
    images.seen.map(({ asked, authorization }) => `${asked} ${authorization}`),
    [
      'GET /v2/ undefined',
      'GET /v2/ Bearer token-1',
      'HEAD /v2/a/b/manifests/1 Bearer token-2',
      'GET /v2/a/b/manifests/1 Bearer token-2',
      `GET /v2/a/b/blobs/${DIGEST} Bearer token-2`,
    ],
  );
  t.strictSame(blobs.seen, [{ asked: 'GET /signed?x=y', authorization: undefined }]);
  nothingSeen(t, { client });
  nothingSeen(t, { client: elsewhere });
});

tap.test('each request has a record, and those with the login or a token name it', async (t) => {
  const { proxy, client, tokens, images } = await world(t);
  await client.ask('/v2/a/manifests/1');
  const common = { sandbox: 'box', method: 'GET', mode: 'forward', verdict: 'allow', code: null };
  t.match(await outcomeAt(proxy, 0), { ...common, port: images.port, status: 401, injected: null });
  t.match(await outcomeAt(proxy, 1), {
    ...common,
    port: tokens.port,
    status: 200,
    injected: 'the-login',
    address: '127.0.0.1',
  });
  t.match(await outcomeAt(proxy, 2), { ...common, port: images.port, injected: 'the-login' });
});

tap.test('a push goes with a token for it, content and all', async (t) => {
  const { tokens, images, client } = await world(t);
  const judge = images.serve;
  images.serve = async (request, response) => {
    if (request.headers.authorization === undefined) return judge(request, response);
    response.writeHead(201).end(await contentOf(request));
  };
  const content = 'a manifest';
  t.match(await client.ask('/v2/a/manifests/1', { method: 'PUT', content }), {
    status: 201,
    text: content,
  });
  const mount = `/v2/a/blobs/uploads/?mount=${DIGEST}&from=b/c`;
  t.equal((await client.ask(mount, { method: 'POST' })).status, 201);
  t.strictSame(
    tokens.seen.map(({ asked }) => new URLSearchParams(asked.split('?')[1]).getAll('scope')),
    [['repository:a:pull,push'], ['repository:a:pull,push', 'repository:b/c:pull']],
  );
});

tap.test('over HTTP/2, and many at once: one login for all', async (t) => {
  const { proxy, images, tokens } = await world(t);
  const session = await http2Inside(t, proxy, images.port);
  const all = Array.from({ length: 10 }, (_, i) =>
    ask(session, { ':path': `/v2/a/manifests/${i}` }),
  );
  for (const { status } of await Promise.all(all)) t.equal(status, 200);
  t.equal(tokens.seen.length, 1);
});

tap.test('a registry that asks for Basic, and one that asks for nothing', async (t) => {
  const images = await noting(t, (request, response) => {
    if (request.headers.authorization === LOGIN) response.end('yours');
    else response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
  });
  const open = await noting(t, (_, response) => response.end('for all'));
  const bindings = [bindingOf(images.port), bindingOf(open.port)];
  const proxy = await interceptor(t, [images.port, open.port], { bindings });
  const client = await RegistryClient.open(t, proxy, images.port);
  t.match(await client.ask('/v2/a/manifests/1'), { status: 200, text: 'yours' });
  const other = await RegistryClient.open(t, proxy, open.port);
  t.match(await other.ask('/v2/a/manifests/1'), { status: 200, text: 'for all' });
  t.strictSame(
    open.seen.map(({ authorization }) => authorization),
    [undefined, undefined],
  );
});

tap.test('a registry gets nobody else the login', async (t) => {
  const evil = await noting(t, (_, response) => response.end('{"token":"x"}'));
  const plain = await noting(t, (_, response) => response.end('{"token":"x"}'), 'http');
  for (const realm of [
    () => `https://localhost:${evil.port}/token`,
    () => `http://localhost:${plain.port}/token`,
    (port: number) => `http://localhost:${port}/token`,
    (port: number) => `https://localhost:${port}/token/more`,
    (port: number) => `https://localhost:${port}/token?to=evil`,
    (port: number) => `https://localhost:${port}@localhost:${evil.port}/token`,
  ]) {
    const { images, tokens, proxy, client } = await world(t, { realm });
    const { status, code } = await client.ask('/v2/a/manifests/1');
    t.strictSame([status, code], [502, 'SALLYPORT_REGISTRY_REALM_REFUSED'], realm(1));
    t.match(await outcomeAt(proxy, 1), { code, injected: null });
    t.strictSame([tokens.seen.length, evil.seen.length, plain.seen.length], [0, 0, 0]);
    t.strictSame(images.seen, [{ asked: 'GET /v2/', authorization: undefined }]);
  }
});

tap.test('Basic is no way around a token endpoint', async (t) => {
  const { images, client } = await world(t);
  images.serve = (_, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
  };
  t.match(await client.ask('/v2/'), { status: 502, code: 'SALLYPORT_REGISTRY_REALM_REFUSED' });
  t.strictSame(images.seen, [{ asked: 'GET /v2/', authorization: undefined }]);
});

tap.test('a token server that the sandbox may not reach is not reached for it', async (t) => {
  const { proxy, tokens, client } = await world(t, { denied: true });
  const { status, code, text } = await client.ask('/v2/a/manifests/1');
  t.strictSame([status, code], [502, 'SALLYPORT_REGISTRY_LOGIN_FAILED']);
  t.match(text, `localhost:${tokens.port} is not allowed`);
  t.equal(tokens.seen.length, 0);
  t.match(await outcomeAt(proxy, 1), {
    verdict: 'deny',
    code: 'SALLYPORT_DENIED',
    port: tokens.port,
    injected: null,
  });
});

for (const [what, why, serve] of [
  ['a refusal', /answered 401/, (end) => end(401, 'no')],
  ['a redirect', /answered 302/, (end) => end(302, '', { location: 'https://localhost:1/' })],
  ['no JSON', /no token/, (end) => end(200, '<html>')],
  ['no object', /no token/, (end) => end(200, 'null')],
  ['no token', /no token/, (end) => end(200, '{"refresh_token":"x"}')],
  ['a token with a line end', /no token/, (end) => end(200, '{"token":"x\\r\\nX-Y: z"}')],
  ['a token of half a head', /no token/, (end) => end(200, `{"token":"${'x'.repeat(32_769)}"}`)],
  ['a flood', /too long/, (end) => end(200, 'x'.repeat(REGISTRY_ANSWER_BYTES_MAX + 1))],
] satisfies [
  string,
  RegExp,
  (end: (status: number, text: string, fields?: Record<string, string>) => void) => void,
][]) {
  tap.test(`a token server that answers with ${what}`, async (t) => {
    const { tokens, images, client } = await world(t);
    tokens.serve = (_, response) =>
      serve((status, text, fields = {}) => void response.writeHead(status, fields).end(text));
    const { status, code, text } = await client.ask('/v2/a/manifests/1');
    t.strictSame([status, code], [502, 'SALLYPORT_REGISTRY_LOGIN_FAILED']);
    t.match(text, why);
    t.equal(images.seen.length, 1, 'the request itself did not go');
    nothingSeen(t, { client });
  });
}

tap.test('a login that was refused is not tried again at once', async (t) => {
  const { tokens, client } = await world(t);
  tokens.serve = (_, response) => void response.writeHead(401).end();
  for (let i = 0; i < 3; i++) t.equal((await client.ask('/v2/a/manifests/1')).status, 502);
  t.equal(tokens.seen.length, 1);
});

tap.test('nobody waits forever', async (t) => {
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const never = { clock: systemClock, open: () => new Promise(() => {}) };
  const logins = new RegistryLogins({ recorder: never } as unknown as OwnServices);
  const sandbox = { name: 'box', scope: 1, deny: null };
  const binding = bindingOf(443);
  const place = { host: 'localhost' as Host, port: 443, scopes: [] };
  const waiting = logins.login({ binding, sandbox, ...place });
  mock.timers.tick(REGISTRY_LOGIN_TIMEOUT_MS);
  await t.rejects(waiting, { code: 'SALLYPORT_REGISTRY_LOGIN_FAILED', message: /too long/ });
});

tap.test('a registry that does not answer as one', async (t) => {
  const { images, client } = await world(t);
  images.serve = (_, response) => void response.writeHead(503).end();
  const { status, code, text } = await client.ask('/v2/');
  t.strictSame([status, code], [502, 'SALLYPORT_REGISTRY_LOGIN_FAILED']);
  t.match(text, /answered 503/);
});

tap.test('a token that the registry does not take is made anew', async (t) => {
  const { images, tokens, client } = await world(t);
  const judge = images.serve;
  await client.ask('/v2/a/manifests/1');
  images.serve = (_, response) => void response.writeHead(401).end();
  t.equal((await client.ask('/v2/a/manifests/1')).status, 401, 'it is told to the client');
  images.serve = judge;
  await nextTurn();
  t.equal((await client.ask('/v2/a/manifests/1')).status, 200);
  t.equal(tokens.seen.length, 2);
});

tap.test('the client’s own login stays, the sentinel goes', async (t) => {
  const { images, tokens, client } = await world(t);
  const asked = async (authorization: string) => {
    await client.ask('/v2/a/manifests/1', { fields: `Authorization: ${authorization}\r\n` });
    return images.seen.at(-1)?.authorization;
  };
  t.equal(await asked('Bearer mine'), 'Bearer mine');
  t.equal(tokens.seen.length, 0);
  const sentinel = `Basic ${Buffer.from('me:proxy-managed').toString('base64')}`;
  t.equal(await asked(sentinel), 'Bearer token-1');
});

tap.test('what is not of the API gets nothing, a token endpoint least of all', async (t) => {
  const { images, tokens, client } = await world(t);
  for (const path of ['/token?scope=x', '/v2/token', '/v2/a/../token']) await client.ask(path);
  t.strictSame(
    images.seen.map(({ authorization }) => authorization),
    [undefined, undefined, undefined],
  );
  t.equal(tokens.seen.length, 0);
});

tap.test('another sandbox’s login, and one that cannot be had', async (t) => {
  const images = await registry(t, () => 'https://localhost/');
  const foreign = await interceptor(t, [images.port], {
    bindings: [bindingOf(images.port, { scope: 2 })],
  });
  const client = await RegistryClient.open(t, foreign, images.port);
  t.equal((await client.ask('/v2/a/manifests/1')).status, 401, 'relayed blind');
  const { client: without } = await world(t, { binding: { value: '' } });
  t.match(await without.ask('/v2/'), { status: 502, code: 'SALLYPORT_CREDENTIAL_UNAVAILABLE' });
});

tap.test('never over plain HTTP', async (t) => {
  const images = await noting(
    t,
    (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
    },
    'http',
  );
  const proxy = await interceptor(t, [images.port], { bindings: [bindingOf(images.port)] });
  const client = await say(proxy.port, get(images.port, '/v2/'));
  t.teardown(() => client.socket.destroy());
  t.equal((await client.response()).status, 401);
  t.strictSame(images.seen, [{ asked: 'GET /v2/', authorization: undefined }]);
});
