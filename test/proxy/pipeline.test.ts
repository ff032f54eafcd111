// The whole of one request's life: the same answer whichever way it comes, and one record each.
import tap, { type Test } from 'tap';
import { parseHost } from '../../src/policy/host.ts';
import { judgeTarget } from '../../src/policy/judge.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { startProxy } from '../helpers/proxy.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';
import { connectTo, get, type Origin, outcomeAt, say, tcpOrigin, wire } from '../helpers/wire.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n';

async function origin(t: Test): Promise<Origin> {
  const made = await tcpOrigin((socket) => {
    socket.on('data', () => socket.write(OK));
    socket.on('end', () => socket.end());
  });
  t.teardown(() => made.close());
  return made;
}

const HOSTS = [
  'a.test',
  'A.TEST',
  'a.test.',
  'x.a.test',
  'y.x.a.test',
  'b.test',
  'denied.a.test',
  'localhost',
  'host.docker.internal',
  '127.0.0.1',
  '10.0.0.1',
  '[2001:db8::1]',
];

tap.test('every way in gives the verdict that `check` gives', async (t) => {
  const { port } = await origin(t);
  const rules: Written[] = [
    ['allow', `**.a.test,a.test:${port}`],
    ['deny', 'denied.a.test'],
    ['allow', `localhost:${port}`],
  ];
  const matcher = referenceMatcher(rulesOf(...rules));
  const proxy = await startProxy({
    rules,
    ask: async () => ({ addresses: ['127.0.0.1'], ttlMs: 1_000 }),
  });
  t.teardown(() => proxy.close());
  const kept = await wire(proxy.port);
  let count = 0;
  for (const host of HOSTS) {
    const question = { scope: 1, host: parseHost(host), port, protocol: 'tcp' as const };
    const wanted = judgeTarget(matcher, question, 'strict');
    const status = wanted.action === 'allow' ? 200 : 403;
    const authority = `${host}:${port}`;
    const request = `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
    kept.send(request);
    t.equal((await kept.response()).status, status, `${host} on a kept connection`);
    for (const bytes of [request, connectTo(authority), `HEAD${request.slice(3)}`]) {
      const method = bytes.slice(0, bytes.indexOf(' '));
      const client = await say(proxy.port, bytes);
      t.equal((await client.response(method)).status, status, `${host} by ${method}`);
      client.socket.destroy();
    }
    count += 4;
    await outcomeAt(proxy, count - 1);
    const { action: verdict, rule, reason } = wanted;
    for (const outcome of proxy.outcomes.slice(-4)) {
      t.match(outcome, { verdict, rule, reason, host: parseHost(host), port });
    }
  }
  t.equal(proxy.outcomes.length, count);
  kept.socket.destroy();
});

tap.test('an address behind a name that is refused is refused on every way in', async (t) => {
  const { port, ...made } = await origin(t);
  const proxy = await startProxy({
    rules: [['allow', '**']],
    names: { 'inner.test': ['127.0.0.1'] },
  });
  t.teardown(() => proxy.close());
  for (const bytes of [
    connectTo(`inner.test:${port}`),
    `GET http://inner.test:${port}/ HTTP/1.1\r\nHost: inner.test:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    `GET http://inner.test:${port}/ HTTP/1.0\r\n\r\n`,
  ]) {
    const client = await say(proxy.port, bytes);
    t.equal((await client.response()).status, 403);
    client.socket.destroy();
  }
  t.equal(made.connections, 0);
});

tap.test('nothing is dialled for a client that left while its name was looked up', async (t) => {
  const made = await origin(t);
  for (const bytes of [
    get(made.port).replaceAll('localhost', 'slow.test'),
    connectTo(`slow.test:${made.port}`),
  ]) {
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<void>();
    const proxy = await startProxy({
      rules: [['allow', `slow.test:${made.port},127.0.0.1`]],
      ask: async () => {
        asked.resolve();
        await answer.promise;
        return { addresses: ['127.0.0.1'], ttlMs: 1_000 };
      },
    });
    t.teardown(() => proxy.close());
    const client = await say(proxy.port, bytes);
    await asked.promise;
    client.socket.resetAndDestroy();
    const [held] = proxy.held;
    await new Promise((resolve) => held?.socket.once('close', resolve));
    answer.resolve();
    t.match(await outcomeAt(proxy, 0), { verdict: 'allow', code: 'SALLYPORT_CLIENT_CLOSED' });
  }
  t.equal(made.connections, 0);
});

tap.test('empty policy, empty answer: nothing passes', async (t) => {
  const { port } = await origin(t);
  const proxy = await startProxy();
  t.teardown(() => proxy.close());
  const client = await say(proxy.port, get(port));
  t.equal((await client.response()).status, 403);
  client.socket.destroy();
});

tap.test('exchanges end in one record each, however they end', async (t) => {
  const { port } = await origin(t);
  const proxy = await startProxy({ rules: [['allow', `localhost:${port}`]] });
  t.teardown(() => proxy.close());
  const endings = [
    get(port),
    get(1),
    'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /x HTTP/1.1\r\nHost: a\r\n\r\n',
    'NONSENSE\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    connectTo(`localhost:${port}`),
    connectTo('localhost:1'),
    connectTo('localhost'),
  ];
  for (const [i, bytes] of endings.entries()) {
    const client = await say(proxy.port, bytes);
    const { status } = await client.response();
    client.socket.end();
    await client.toEnd();
    const outcome = await outcomeAt(proxy, i);
    t.equal(outcome.status, status, JSON.stringify(bytes.slice(0, 30)));
    t.equal(proxy.outcomes.length, i + 1);
    client.socket.destroy();
  }
  t.equal(
    new Set(proxy.outcomes.map(({ time_ms, slot }) => `${time_ms} ${slot}`)).size,
    endings.length,
  );
});
