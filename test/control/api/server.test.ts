// Every route of the control API over real sockets: src/control/api/routes.ts,
// src/control/api/routes-daemon.ts, src/control/api/routes-log.ts, src/control/api/routes-policy.ts,
// src/control/api/routes-sandbox.ts, src/control/api/schemas.ts, src/control/api/services.ts,
// src/control/policy/check.ts, and what puts them together, src/control/instance.ts, src/control/managed.ts,
// src/control/state.ts, src/control/surroundings.ts and
// src/control/configuration.ts.
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { startWorld } from '../../helpers/control.ts';

type Reply = { readonly status: number; readonly body: Record<string, unknown> };
type Where = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** One request as any program could send it. */
async function send(
  where: Where,
  method: string,
  path: string,
  { body, headers }: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const length = String(Buffer.byteLength(text ?? ''));
  const json =
    body === undefined ? {} : { 'content-type': 'application/json', 'content-length': length };
  const asked = request({
    ...where,
    method,
    path,
    headers: { host: 'localhost', ...json, ...headers },
  });
  asked.end(text);
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  let received = '';
  for await (const piece of answer.setEncoding('utf8')) received += String(piece);
  return { status: answer.statusCode ?? 0, body: JSON.parse(received) as Reply['body'] };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

t.test('the daemon tells about itself', async (t) => {
  const { paths, stopAsked } = await startWorld(t);
  const get = (path: string) => send({ socketPath: paths.socket }, 'GET', path);
  t.equal(statSync(paths.socket).mode & 0o777, 0o600);
  t.match(await get('/daemon/health'), {
    status: 200,
    body: { status: 'ok', version: '0.0.0-test' },
  });
  t.match((await get('/daemon/info')).body, { api_socket: paths.socket });
  t.match((await get('/daemon/status')).body, {
    pid: process.pid,
    socket: paths.socket,
    listen: /^127\.0\.0\.1:\d+$/,
    workers: 1,
    restarts: 0,
    rules: 0,
    preset: 'deny-all',
  });
  t.strictSame((await get('/daemon/loglevel')).body, { general: 'error', proxy: 'error' });
  const change = { body: { proxy: 'debug' } };
  const set = await send({ socketPath: paths.socket }, 'POST', '/daemon/loglevel/set', change);
  t.strictSame(set.body, { general: 'error', proxy: 'debug' });
  const openapi = (await get('/openapi.json')).body as { openapi: string; paths: object };
  t.equal(openapi.openapi, '3.1.0');
  t.strictSame(Object.keys(openapi.paths).sort(), [
    '/authority',
    '/authority/export',
    '/authority/import',
    '/authority/rotate',
    '/browser-open',
    '/daemon/health',
    '/daemon/info',
    '/daemon/loglevel',
    '/daemon/loglevel/set',
    '/daemon/reset',
    '/daemon/settings',
    '/daemon/settings/{key}',
    '/daemon/status',
    '/daemon/stop',
    '/environment',
    '/network/log',
    '/network/log/stream',
    '/policy/apply',
    '/policy/approvals',
    '/policy/approvals/{id}',
    '/policy/filesystem/check',
    '/policy/filesystem/explain',
    '/policy/filesystem/mount',
    '/policy/filesystem/rules',
    '/policy/governance',
    '/policy/inspect',
    '/policy/network/check',
    '/policy/network/explain',
    '/policy/network/profiles',
    '/policy/network/rules',
    '/policy/network/rules/batch',
    '/policy/refresh',
    '/policy/setup',
    '/sandbox',
    '/sandbox/{name}',
    '/sandbox/{name}/phase',
    '/sandbox/{name}/token',
    '/secrets',
    '/secrets/custom',
    '/secrets/import',
    '/secrets/oauth',
  ]);
  const stop = await send({ socketPath: paths.socket }, 'POST', '/daemon/stop', {
    body: { drain_timeout_ms: 5 },
  });
  t.match(stop, { status: 202, body: { stopping: true } });
  t.equal(await stopAsked, 5);
});

t.test('rules: add, list, check, remove, reset', async (t) => {
  const { paths } = await startWorld(t, { preset: undefined });
  const call = (method: string, path: string, body?: unknown) =>
    send({ socketPath: paths.socket }, method, path, body === undefined ? {} : { body });
  const rule = { decision: 'allow', resources: 'b.test, A.test' };
  t.match(await call('POST', '/policy/network/rules', rule), {
    status: 409,
    body: { code: 'SALLYPORT_POLICY_UNINITIALIZED', message: /has not been initialized/ },
  });
  t.strictSame((await call('GET', '/policy/setup')).body, {
    initialized: false,
    preset: null,
    presets: ['allow-all', 'balanced', 'deny-all'],
  });
  t.match((await call('POST', '/policy/setup', { preset: 'deny-all' })).body, {
    initialized: true,
  });
  t.match(await call('POST', '/policy/setup', { preset: 'balanced' }), { status: 409 });

  const added = await call('POST', '/policy/network/rules', rule);
  t.match(added, {
    status: 201,
    body: { policy: 'local', rules: [{ resources: ['b.test', 'a.test'] }] },
  });
  const [{ id }] = (added.body as { rules: [{ id: string }] }).rules;
  const checked = await call('POST', '/policy/network/check', {
    type: 'network',
    target: 'a.test',
  });
  t.match(checked.body, { allowed: true, target: 'a.test:443', matched_rule: `local:${id}` });
  for (const field of ['rule', 'deny_kind', 'reason']) t.notOk(field in checked.body, field);
  t.strictSame((await call('GET', '/policy/network/profiles')).body, { profiles: [] });

  const listed = async (query: string) =>
    ((await call('GET', `/policy/network/rules${query}`)).body as { rules: { id: string }[] })
      .rules;
  t.strictSame(
    (await listed('')).map(({ id }) => id),
    ['default-deny-all', id],
  );
  t.equal((await listed('?type=all')).length, 4);
  t.equal((await listed('?type=filesystem')).length, 2);

  const removed = await call('DELETE', '/policy/network/rules?resource=a.test');
  t.match(removed.body, { scope: 'global', removed: [{ id, resources: ['a.test'] }] });
  t.match(await call('DELETE', `/policy/network/rules`, { id: `local:${id}` }), { status: 200 });
  t.match(await call('DELETE', `/policy/network/rules?id=${id}`), {
    status: 404,
    body: { message: `rule "${id}" not found` },
  });
  t.match(await call('DELETE', '/policy/network/rules'), { status: 400 });
  t.match(await call('POST', '/daemon/reset'), { status: 200 });
  t.match((await call('GET', '/policy/setup')).body, { initialized: false });
});

t.test('a denial is worded as sbx words it', async (t) => {
  const { paths } = await startWorld(t);
  const call = (path: string, body: unknown) =>
    send({ socketPath: paths.socket }, 'POST', path, { body });
  await call('/sandbox', { name: 'm101-policy' });
  const check = async (sandbox?: string) => {
    const { body } = await call('/policy/network/check', {
      target: 'https://example.com/',
      sandbox_id: sandbox,
    });
    const { generation, ...rest } = body;
    t.type(generation, 'number');
    return rest;
  };
  const common = {
    action: 'net:connect:tcp',
    allowed: false,
    governance: { active: false },
    resource_type: 'net:domain',
    resource_value: 'example.com:443',
    target: 'example.com:443',
    type: 'network',
  };
  t.strictSame(await check(), {
    ...common,
    context: 'global',
    deny_kind: 'implicit',
    reason: 'No matching allow rule (default deny)',
  });
  const added = await call('/policy/network/rules/batch', {
    rules: [{ decision: 'deny', resources: ['example.com'], sandbox: 'm101-policy' }],
  });
  const [id] = (added.body as { ids: [string] }).ids;
  t.strictSame(await check('m101-policy'), {
    ...common,
    context: 'sandbox:m101-policy',
    deny_kind: 'explicit',
    origin: 'local',
    reason: 'Denied by local rule',
    rule: `local:${id}`,
  });
});

t.test('sandboxes: create, list, show, new token, delete', async (t) => {
  const { paths, client } = await startWorld(t);
  const call = (method: string, path: string, body?: unknown) =>
    send({ socketPath: paths.socket }, method, path, body === undefined ? {} : { body });
  const created = await call('POST', '/sandbox', { name: 'box', source_address: '127.9.9.9' });
  t.match(created, {
    status: 201,
    body: {
      name: 'box',
      source_address: '127.9.9.9',
      proxy_url: /^http:\/\/box:[\w-]{43}@127\.0\.0\.1:\d+$/,
    },
  });
  const { sandboxes } = (await call('GET', '/sandbox')).body as { sandboxes: object[] };
  t.equal(sandboxes.length, 1);
  t.notOk('proxy_url' in (sandboxes[0] ?? {}), 'the token is shown once');
  t.match((await call('GET', '/sandbox/box')).body, { name: 'box', listen: null });
  const rotated = await call('POST', '/sandbox/box/token');
  t.not(rotated.body.proxy_url, created.body.proxy_url);
  await client.post('/policy/network/rules', {
    decision: 'allow',
    resources: 'a.test',
    sandbox: 'box',
  });
  t.match(await call('DELETE', '/sandbox/box'), { status: 200 });
  t.match((await call('GET', '/daemon/status')).body, { rules: 0, sandboxes: 0 });
  const notFound = { status: 404, body: { message: 'sandbox "nope" not found' } };
  t.match(await call('GET', '/sandbox/nope'), notFound);
  t.match(await call('DELETE', '/sandbox/nope'), notFound);
  t.match(await call('POST', '/sandbox/nope/token'), notFound);
  t.match(
    await call('POST', '/policy/network/check', { target: 'a.test', sandbox_id: 'nope' }),
    notFound,
  );
  t.match(await call('GET', '/policy/network/rules?sandbox=nope'), notFound);
  t.match(await call('GET', '/network/log/stream?sandbox=nope'), notFound);
});

t.test('a listener that cannot be opened leaves no sandbox behind', async (t) => {
  const { paths } = await startWorld(t);
  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => void taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const created = await send({ socketPath: paths.socket }, 'POST', '/sandbox', {
    body: { name: 'box', listen: `127.0.0.1:${port}` },
  });
  t.match(created, { status: 409, body: { code: 'SALLYPORT_CONFLICT' } });
  t.match((await send({ socketPath: paths.socket }, 'GET', '/sandbox')).body, { sandboxes: [] });
});

t.test(
  'bad input: every fault is named with its place, and there is no other kind of answer',
  async (t) => {
    const { paths } = await startWorld(t);
    const post = (path: string, body: unknown, headers = {}) =>
      send({ socketPath: paths.socket }, 'POST', path, { body, headers });
    const invalid = (message: RegExp) => ({
      status: 400,
      body: { code: 'SALLYPORT_REQUEST_INVALID', message, hint: /openapi/ },
    });
    t.match(
      await post('/policy/network/rules', { decision: 'maybe', colour: 'red' }),
      invalid(/body\.decision: .*body\.resources: .*colour/s),
    );
    t.match(await post('/policy/network/rules', '{"decision":'), invalid(/JSON/));
    t.match(
      await post('/policy/network/rules', '{}', { 'content-type': 'text/xml' }),
      invalid(/edia/),
    );
    t.match(await post('/sandbox', { name: '../x' }), invalid(/sandbox name/));
    t.match(
      await send({ socketPath: paths.socket }, 'GET', '/policy/network/rules?type=bad'),
      invalid(/querystring\.type/),
    );
    t.match(
      await send({ socketPath: paths.socket }, 'GET', '/network/log?limit=-1'),
      invalid(/querystring\.limit/),
    );
    t.match(await post('/policy/network/check', { target: 'bad host' }), { status: 400 });
    t.match(await post('/policy/network/rules', { decision: 'allow', resources: 'a.test,,*' }), {
      status: 400,
      body: { code: 'SALLYPORT_POLICY_INVALID', message: /element 2 .*element 3 / },
    });
    t.match(await send({ socketPath: paths.socket }, 'GET', '/nothing'), {
      status: 404,
      body: { code: 'SALLYPORT_NOT_FOUND', message: 'there is no GET /nothing' },
    });
  },
);

t.test('who may call: by host on the socket, by host and token over TCP', async (t) => {
  const port = await freePort();
  const token = 'a token of the tests, long enough to be safe';
  const { paths, client } = await startWorld(t, { api: { listen: `127.0.0.1:${port}`, token } });
  const foreign = { headers: { host: 'attacker.test' } };
  const refused = { status: 403, body: { code: 'SALLYPORT_FORBIDDEN_HOST' } };
  t.match(await send({ socketPath: paths.socket }, 'GET', '/daemon/health', foreign), refused);

  const tcp = (headers: Record<string, string>) =>
    send({ host: '127.0.0.1', port }, 'GET', '/daemon/health', { headers });
  const host = `127.0.0.1:${port}`;
  const authorization = `Bearer ${token}`;
  t.match(await tcp({ host: 'attacker.test', authorization }), refused);
  t.match(await tcp({ host: '127.0.0.1', authorization }), refused);
  const unauthorized = { status: 401, body: { code: 'SALLYPORT_UNAUTHORIZED' } };
  t.match(await tcp({ host }), unauthorized);
  t.match(await tcp({ host, authorization: 'Bearer wrong' }), unauthorized);
  t.match(await tcp({ host, authorization }), { status: 200 });
  t.match(await tcp({ host: `localhost:${port}`, authorization }), { status: 200 });
  for (const target of ['/%zz', `/sandbox/${'x'.repeat(300)}`]) {
    const odd = (headers: Record<string, string>) =>
      send({ host: '127.0.0.1', port }, 'GET', target, { headers });
    t.match(await odd({ host: 'attacker.test', authorization }), refused, 'no URL is no way in');
    t.match(await odd({ host }), unauthorized);
    const invalid = { status: 400, body: { code: 'SALLYPORT_REQUEST_INVALID' } };
    t.match(await odd({ host, authorization }), invalid);
  }

  // Not even with a rule for it does the proxy lead to the API, or to itself.
  await client.post('/sandbox', { name: 'box', source_address: '127.0.0.1' });
  const { listen } = await client.get<{ listen: string }>('/daemon/status');
  const proxyPort = Number(listen.split(':')[1]);
  const resources = `localhost:${port},localhost:${proxyPort},127.0.0.0/8`;
  await client.post('/policy/network/rules', { decision: 'allow', resources });
  for (const target of [
    `127.0.0.1:${port}`,
    `localhost:${port}`,
    `[::ffff:127.0.0.1]:${port}`,
    listen,
  ]) {
    const asked = request({ host: '127.0.0.1', port: proxyPort, method: 'CONNECT', path: target });
    asked.end();
    const [answer] = (await once(asked, 'connect')) as [IncomingMessage];
    t.not(answer.statusCode, 200, target);
    answer.destroy();
  }
});

t.test('a token that can be guessed is refused at the start', async (t) => {
  const port = await freePort();
  const api = { listen: `127.0.0.1:${port}`, token: 'short' };
  await t.rejects(startWorld(t, { api }), { code: 'SALLYPORT_USAGE' });
});

t.test('what a sandbox did is in the log, live and summed up', async (t) => {
  const { client } = await startWorld(t, { defaultSandbox: 'box' });
  const lines = client.lines<{ host: string; status: number; decision: string }>(
    '/network/log/stream',
  );
  const first = lines.next();
  const { listen } = await client.get<{ listen: string }>('/daemon/status');
  const [host = '', port = ''] = listen.split(':');
  const asked = request({
    host,
    port,
    path: 'http://denied.test/',
    headers: { host: 'denied.test' },
  });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.resume();
  t.equal(answer.statusCode, 403);
  t.match(await first, { value: { host: 'denied.test:80', status: 403, decision: 'deny' } });
  await lines.return();
  t.match(await client.get('/network/log', { sandbox: 'box', limit: 5 }), {
    blocked_hosts: [
      { host: 'denied.test:80', vm_name: 'box', proxy_type: 'forward', count_since: 1 },
    ],
    allowed_hosts: [],
  });
});
