// Kits over the real API and a real connection through the proxy: what their sandbox may reach changes
// with its phase, at once and for what is open, too; listings tell whose rules they are; a restart and a
// crash leave nothing else. Covers src/workers/cut.ts beside its own test.
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { SandboxIssued } from '../../../src/control/api/schemas.ts';
import { say } from '../../cli/session.ts';
import { startWorld, type World } from '../../helpers/control.ts';

/** An origin that says hello to whoever comes. @returns `localhost:PORT` */
async function origin(t: Test): Promise<string> {
  const server = createServer((_, answer) => answer.end('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `localhost:${(server.address() as AddressInfo).port}`;
}

type Box = { readonly name: string; readonly url: URL };

async function register(world: World, body: object): Promise<Box> {
  const issued = SandboxIssued.parse(await world.client.post('/sandbox', body));
  return { name: issued.name, url: new URL(issued.proxy_url) };
}

function loginOf({ url }: Box): string {
  return `Basic ${Buffer.from(`${url.username}:${url.password}`).toString('base64')}`;
}

/** @returns the status of one request to the target */
async function ask(box: Box, target: string): Promise<number> {
  const { hostname, port } = box.url;
  const headers = { host: target, 'proxy-authorization': loginOf(box) };
  const asked = request({ hostname, port, path: `http://${target}/`, headers, agent: false });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.resume();
  await once(answer, 'end');
  return answer.statusCode ?? 0;
}

/** @returns the open tunnel, or the status that refused it */
async function tunnel(box: Box, target: string): Promise<Socket | number> {
  const { hostname, port } = box.url;
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.on('error', () => {});
  socket.write(
    `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\nProxy-Authorization: ${loginOf(box)}\r\n\r\n`,
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head.toString())?.[1]);
  if (status === 200) return socket;
  socket.destroy();
  return status;
}

function go(world: World, { name }: Box, phase: string): Promise<{ phase: string }> {
  return world.client.post(`/sandbox/${name}/phase`, { phase });
}

t.test('what may be reached changes with the phase', async (t) => {
  const world = await startWorld(t);
  const [registry, api, other] = [await origin(t), await origin(t), await origin(t)];
  const kit = {
    name: 'docs-kit',
    install: { allow: [registry] },
    runtime: { allow: [api, other], deny: [other] },
  };
  const box = await register(world, { name: 'docs', kit, phase: 'install' });
  const plain = await register(world, { name: 'plain' });
  const reached = async (who: Box) =>
    Promise.all([registry, api, other].map((target) => ask(who, target)));
  t.strictSame(await reached(box), [200, 403, 403]);
  t.match(await go(world, box, 'runtime'), { phase: 'runtime', kit: 'docs-kit' });
  t.strictSame(await reached(box), [403, 200, 403], 'a deny of the kit wins over its allow');
  t.strictSame(await reached(plain), [403, 403, 403], 'they are of that sandbox alone');
  await go(world, box, 'install');
  t.strictSame(await reached(box), [200, 403, 403]);

  await world.client.post('/policy/network/rules', { decision: 'deny', resources: registry });
  t.strictSame(await reached(box), [403, 403, 403], 'a local deny wins over the kit');
  const checked = (sandbox?: string) =>
    world.client.post('/policy/network/check', { target: api, sandbox_id: sandbox });
  t.match(await checked('docs'), { allowed: false, deny_kind: 'implicit' });
  await go(world, box, 'runtime');
  t.match(await checked('docs'), { allowed: true, matched_rule: 'kit:docs:runtime' });
  t.match(await checked(), { allowed: false });
});

t.test('without a word a sandbox is in runtime', async (t) => {
  const world = await startWorld(t);
  const target = await origin(t);
  const box = await register(world, {
    name: 'docs',
    kit: { name: 'k', install: { allow: ['*'] } },
  });
  t.equal(await ask(box, target), 403);
  t.match(await world.client.get('/sandbox/docs'), { phase: 'runtime', kit: 'k' });
});

t.test('what was open ends with its phase, and the record says so', async (t) => {
  const world = await startWorld(t);
  const target = await origin(t);
  const kit = { name: 'k', install: { allow: [target] } };
  const box = await register(world, { name: 'docs', kit, phase: 'install' });
  const other = await register(world, { name: 'other', kit, phase: 'install' });
  const lines = world.client.lines<{ sandbox: string; reason: string }>('/network/log/stream');
  const line = lines.next();
  const mine = await tunnel(box, target);
  const theirs = await tunnel(other, target);
  if (typeof mine === 'number' || typeof theirs === 'number') return t.fail('not open');
  const closed = once(mine, 'close');
  await go(world, box, 'runtime');
  await closed;
  t.match(await line, {
    value: { sandbox: 'docs', reason: 'the sandbox is in phase runtime now' },
  });
  await lines.return();
  theirs.write(`GET / HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  t.match(String((await once(theirs, 'data'))[0]), 'hello', 'that of others is left alone');
  t.equal(await tunnel(box, target), 403);
  const left = once(theirs, 'close');
  await world.client.delete('/sandbox/other');
  await left;
  t.equal(await tunnel(other, target), 407);
});

t.test('an answer on its way ends, too', async (t) => {
  const world = await startWorld(t);
  const server = createTcpServer((socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst bytes');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  const target = `localhost:${(server.address() as AddressInfo).port}`;
  const kit = { name: 'k', install: { allow: [target] } };
  const box = await register(world, { name: 'docs', kit, phase: 'install' });
  const { hostname, port } = box.url;
  const headers = { host: target, 'proxy-authorization': loginOf(box) };
  const asked = request({ hostname, port, path: `http://${target}/`, headers, agent: false });
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.on('error', () => {});
  await once(answer, 'data');
  const ended = new Promise((resolve) => answer.once('close', resolve)); // An error comes before.
  await go(world, box, 'runtime');
  await ended;
  t.equal(answer.complete, false);
});

t.test('requests of a kit, by method and path', async (t) => {
  const world = await startWorld(t);
  const kit = {
    name: 'k',
    runtime: { allow: [{ hosts: ['api.test'], methods: ['GET'], paths: ['/repos/**'] }] },
  };
  await register(world, { name: 'docs', kit });
  const check = (target: string, method: string) =>
    world.client.post('/policy/network/check', { target, method, sandbox_id: 'docs' });
  t.match(await check('https://api.test/repos/a', 'GET'), { allowed: true });
  t.match(await check('https://api.test/repos/a', 'POST'), { allowed: false });
  t.match(await check('https://api.test/user', 'GET'), { allowed: false });
});

t.test('listings tell of kits, and inspect what to do about them', async (t) => {
  const world = await startWorld(t);
  const kit = {
    name: 'docs-kit',
    install: { allow: ['registry.npmjs.example'] },
    runtime: {
      allow: [
        'api.github.com',
        'registry.npmjs.example',
        { hosts: ['x.test'], methods: ['GET', 'HEAD'], paths: ['/a', '/b/*'] },
      ],
      deny: ['telemetry.example.com'],
    },
  };
  await register(world, { name: 'docs', kit });
  const listed = async (...words: string[]) =>
    (await say(world, ['policy', 'ls', '--source', 'kit', ...words])).out;
  t.match(
    await listed('--type', 'network'),
    /^PROVENANCE +APPLIES_TO +POLICY\/RULE +TYPE +DECISION +RESOURCES +METHOD +PATH\nkit +sandbox:docs +kit:docs +network +allow +api\.github\.com +-\s+-\n +registry\.npmjs\.example\n/,
  );
  t.match(
    await listed('--layout', 'origin'),
    /\nkit:docs:deny +network +sandbox:docs +deny +active +telemetry\.example\.com/,
  );
  const json = JSON.parse(await listed('--json', '--include-inactive'));
  t.strictSame(
    json.rules.map(({ id, status }: { id: string; status: string }) => [id, status]),
    [
      ['kit:docs:install', 'inactive'],
      ['kit:docs:runtime', 'active'],
      ['kit:docs:runtime:http:3', 'active'],
      ['kit:docs:runtime:deny', 'active'],
    ],
  );
  t.match(json.rules[0], {
    name: 'kit:docs',
    policy_id: 'kit:docs',
    origin: 'kit',
    layer: 'kit',
    sandbox_id: 'docs',
    editable: false,
    inactive_reason: 'its sandbox is not in phase install.',
    provenance: { created_via: 'provisioned' },
  });
  const all = (await say(world, ['policy', 'inspect', 'kit:docs'])).out;
  t.match(all, /^Policy: kit:docs \(kit:docs\)\nSource: kit\n/);
  t.match(all, /Rule: kit:docs \(kit:docs:install\)\n(.*\n)*? {2}Status: +inactive — its sandbox/);
  const one = (await say(world, ['policy', 'inspect', 'kit:docs:runtime'])).out;
  t.match(one, 'Read-only:  it comes with the kit of its sandbox, and goes with it');
  t.match(
    one,
    'Override:   sbx policy deny network --sandbox docs api.github.com,registry.npmjs.example\n',
  );
  const http = (await say(world, ['policy', 'inspect', 'rule:kit:docs:runtime:http:3'])).out;
  const command = /Override: +sbx (.*)\n/.exec(http)?.[1]?.replaceAll("'", '') ?? '';
  t.equal(
    command,
    'policy deny network --sandbox docs x.test --method GET,HEAD --path /a --path /b/*',
  );
  t.equal((await say(world, command.split(' '))).code, 0, 'it can be typed');
  const remove = 'policy rm network --sandbox docs --resource x.test --method GET,HEAD'.split(' ');
  const removed = await say(world, [...remove, '--path', '/a', '--path', '/b/*']);
  t.strictSame(removed, {
    code: 0,
    out: 'Rule removed from policy local: resources=x.test\n',
    err: '',
  });
  const deny = (await say(world, ['policy', 'inspect', 'kit:docs:deny'])).out;
  t.notMatch(deny, 'Override', 'what a kit denies stays denied');
  const refused = await say(world, ['policy', 'rm', 'network', '--id', 'kit:docs:runtime']);
  t.match(refused, { code: 1, err: /rule "kit:docs" cannot be removed/ });
});

t.test('a kit goes with its sandbox, and stays with a policy that is reset', async (t) => {
  const world = await startWorld(t);
  const kit = { name: 'k', runtime: { allow: ['a.test'] } };
  await register(world, { name: 'docs', kit });
  await world.client.post('/daemon/reset');
  const ids = () => world.instance.policy.rules.map(({ id }) => id);
  t.strictSame(ids(), ['kit:docs:runtime']);
  await world.client.delete('/sandbox/docs');
  t.strictSame(ids(), []);
});

t.test('a kit with faults registers nothing', async (t) => {
  const world = await startWorld(t);
  const post = (kit: object, more: object = {}) =>
    world.client.post('/sandbox', { name: 'docs', kit, ...more });
  await t.rejects(post({ name: 'k', runtime: { allow: ['a.test', 'b..c'] } }), {
    code: 'SALLYPORT_POLICY_INVALID',
    message: /^kit "k": runtime\.allow element 2: "b\.\.c" is not a host name/,
  });
  for (const [kit, place] of [
    [{ name: 'k', setup: {} }, /body\.kit: .*setup/],
    [{ name: 'k', runtime: { allows: [] } }, /body\.kit\.runtime: .*allows/],
    [{ name: 'k', runtime: { allow: [{ hosts: ['a.com'], paths: ['/'] }] } }, /runtime\.allow\.0/],
    [{ runtime: {} }, /body\.kit\.name/],
  ] as const) {
    await t.rejects(post(kit), { code: 'SALLYPORT_REQUEST_INVALID', message: place });
  }
  await t.rejects(post({ name: 'k' }, { phase: 'setup' }), { message: /body\.phase/ });
  t.match(await world.client.get('/sandbox'), { sandboxes: [] });
  await register(world, { name: 'docs' });
  await t.rejects(world.client.post('/sandbox/docs/phase', { phase: 'x' }), {
    code: 'SALLYPORT_REQUEST_INVALID',
  });
  await t.rejects(world.client.post('/sandbox/none/phase', { phase: 'install' }), {
    code: 'SALLYPORT_NOT_FOUND',
  });
  t.match(await world.client.post('/sandbox/docs/phase', { phase: 'install' }), {
    phase: 'install',
    kit: null,
  });
});

t.test('kit and phase survive a restart; a crash in between is made good', async (t) => {
  const first = await startWorld(t);
  const target = await origin(t);
  const kit = { name: 'k', install: { allow: [target] }, runtime: { deny: ['x.test'] } };
  const box = await register(first, { name: 'docs', kit, phase: 'install' });
  const { env, paths } = first;
  const restarted = async (before: World): Promise<World> => {
    await before.instance.stop(0);
    return startWorld(t, { preset: undefined }, env);
  };
  const inForce = (world: World) =>
    world.instance.policy.rules.filter(({ awaits }) => awaits === undefined).map(({ id }) => id);
  const second = await restarted(first);
  t.match(await second.client.get('/sandbox/docs'), { phase: 'install', kit: 'k' });
  t.strictSame(inForce(second), ['kit:docs:install']);
  const { listen } = await second.client.get<{ listen: string }>('/daemon/status');
  const moved = { ...box, url: Object.assign(new URL(box.url), { host: listen }) };
  t.equal(await ask(moved, target), 200);
  const { generation } = second.instance.status();

  await second.instance.stop(0);
  // As a crash leaves it between the two: the phase is written, its rules are not.
  const database = new DatabaseSync(paths.policyDatabase);
  database.exec("UPDATE sandboxes SET phase = 'runtime'");
  database.close();
  const third = await startWorld(t, { preset: undefined }, env);
  t.strictSame(inForce(third), ['kit:docs:runtime:deny']);
  const fourth = await restarted(third);
  t.equal(fourth.instance.status().generation, generation, 'nothing is to be made right again');
});

t.test('where kits grant nothing, their denies stay', async (t) => {
  const world = await startWorld(t);
  const target = await origin(t);
  const [, port] = target.split(':');
  const kit = { name: 'k', runtime: { allow: [target, 'a.test'], deny: ['b.test'] } };
  const box = await register(world, { name: 'docs', kit });
  t.equal(await ask(box, target), 200);
  await world.client.put('/daemon/settings/policy.kitAllows', { value: 'inactive' });
  t.equal(await ask(box, target), 403);
  const { out } = await say(world, ['policy', 'ls', '--source', 'kit', '--include-inactive']);
  t.match(out, /inactive — kits grant/);
  await world.client.post('/policy/network/rules', {
    decision: 'allow',
    resources: `localhost:${port},b.test`,
  });
  t.equal(await ask(box, target), 200, 'what the user allows');
  t.match(
    await world.client.post('/policy/network/check', { target: 'b.test', sandbox_id: 'docs' }),
    { allowed: false, deny_kind: 'explicit', reason: 'Denied by kit rule' },
  );
});

t.test('an intercepted connection ends with its phase', async (t) => {
  const world = await startWorld(t);
  const entry = { hosts: ['localhost:9'], methods: ['GET'] };
  const kit = { name: 'k', install: { allow: [entry] } };
  const box = await register(world, { name: 'docs', kit, phase: 'install' });
  const opened = await tunnel(box, 'localhost:9');
  if (typeof opened === 'number') return t.fail(`refused: ${opened}`);
  opened.removeAllListeners('data');
  const secure = connectTls({ socket: opened, servername: 'localhost', rejectUnauthorized: false });
  secure.on('error', () => {});
  await once(secure, 'secureConnect');
  const closed = new Promise((resolve) => secure.once('close', resolve));
  await go(world, box, 'runtime');
  await closed;
  t.equal(await tunnel(box, 'localhost:9'), 403);
});

t.test('under an organisation a kit counts as local rules do', async (t) => {
  const world = await startWorld(t, { preset: 'allow-all' });
  const kit = { name: 'k', runtime: { allow: ['a.test'], deny: ['b.test'] } };
  await register(world, { name: 'docs', kit });
  const { policy } = world.instance;
  const check = async (target: string) => {
    const found = await world.client.post<{ allowed: boolean; deny_kind?: string }>(
      '/policy/network/check',
      { target, sandbox_id: 'docs' },
    );
    return found.allowed ? 'allowed' : found.deny_kind;
  };
  const org = { organization: 'org', available: true, supportMessage: null };
  await policy.govern({ ...org, delegates: [] });
  t.strictSame([await check('a.test'), await check('b.test')], ['implicit', 'implicit']);
  await policy.setSemantics({ localDenies: 'active' });
  t.strictSame([await check('a.test'), await check('b.test')], ['implicit', 'explicit']);
  await policy.govern({ ...org, delegates: ['network'] });
  t.strictSame([await check('a.test'), await check('b.test')], ['allowed', 'explicit']);
});
