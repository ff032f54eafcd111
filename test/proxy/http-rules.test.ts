// Rules for requests, enforced: inside TLS, over plain HTTP, and against traffic that cannot be seen.

import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import tap, { type Test } from 'tap';
import { parseHttpMatch } from '../../src/policy/http.ts';
import {
  ask,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';
import { startProxy, type TestProxy } from '../helpers/proxy.ts';
import { connectTo, tcpOrigin, Wire, wire } from '../helpers/wire.ts';

type Rules = NonNullable<Parameters<typeof startProxy>[0]>['rules'];
type Paths = { readonly proxy: TestProxy; readonly port: number; readonly seen: string[] };

const HOST = 'localhost';

async function scene(
  t: Test,
  rulesFor: (host: string) => Rules,
  options: Parameters<typeof interceptor>[2] = {},
): Promise<Paths> {
  const seen: string[] = [];
  const server = createSecureServer({ ...certificate, allowHTTP1: true }, (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.end('ok');
  });
  const port = await listening(t, server);
  const rules = rulesFor(`${HOST}:${port}`) ?? [];
  return { proxy: await interceptor(t, [port], { bindings: [], rules, ...options }), port, seen };
}

const READS = { id: 'reads', http: parseHttpMatch(['GET'], ['/repos/**']) };
const PUSHES = { id: 'pushes', http: parseHttpMatch(['ANY'], ['/**/git-receive-pack']) };

/** Status by request, for the four rows of the matrix. */
const MATRIX: Readonly<
  Record<
    string,
    { rules: (host: string) => Rules; cases: readonly (readonly [string, string, number])[] }
  >
> = {
  'HTTP allow only': {
    rules: (host) => [['allow', host, READS]],
    cases: [
      ['GET', '/repos/a', 200],
      ['GET', '/repos?x=/../..', 200],
      ['POST', '/repos/a', 403],
      ['GET', '/users', 403],
      ['GET', '/repos/a%2Fb', 200],
      ['GET', '/repos/..%2Fusers', 403],
      ['GET', '/repos//a', 200],
      ['GET', '//repos/a', 403],
    ],
  },
  'network allow and HTTP deny': {
    rules: (host) => [
      ['allow', host, { id: 'all' }],
      ['deny', host, PUSHES],
    ],
    cases: [
      ['GET', '/a', 200],
      ['POST', '/o/r.git/git-upload-pack', 200],
      ['POST', '/o/r.git/git-receive-pack', 403],
      ['POST', '/o/r.git/git-receive-pack/', 403],
      ['POST', '/o/r.git%2fgit-receive-pack', 403],
      ['POST', '/o/r.git/git-receive%2Dpack', 403],
      ['POST', '/o/r.git//git-receive-pack;x', 403],
      ['BREW', '/o/r.git/git-receive-pack', 403],
    ],
  },
  'network deny and HTTP allow': {
    rules: (host) => [
      ['deny', host, { id: 'none' }],
      ['allow', host, READS],
    ],
    cases: [],
  },
};

for (const [row, { rules, cases }] of Object.entries(MATRIX)) {
  tap.test(row, async (t) => {
    const { proxy, port, seen } = await scene(t, rules);
    if (cases.length === 0) {
      const client = await wire(proxy.port);
      client.send(connectTo(`${HOST}:${port}`));
      t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 403');
      return client.socket.destroy();
    }
    const session = await http2Inside(t, proxy, port);
    for (const [method, path, status] of cases) {
      const got = await ask(session, { ':method': method, ':path': path });
      t.equal(got.status, status, `${method} ${path} over HTTP/2`);
      if (status === 403) t.match(got.content, /^Blocked by network policy: domain localhost:/);
      const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
      client.send(`${method} ${path} HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`);
      t.match(await client.until('\r\n'), `HTTP/1.1 ${status}`, `${method} ${path}`);
    }
    const forwarded = cases.filter(([, , status]) => status === 200);
    t.strictSame(
      [...new Set(seen)],
      forwarded.map(([method, path]) => `${method} ${path}`),
      'as it was judged, byte for byte',
    );
    const requests = proxy.outcomes.filter(({ method }) => method !== 'CONNECT');
    const rule = row.startsWith('HTTP') ? 'reads' : 'pushes';
    t.ok(
      requests.some((one) => one.rule === rule),
      'the record names the rule',
    );
  });
}

tap.test('what cannot be seen does not pass', async (t) => {
  const { proxy, port, seen } = await scene(t, (host) => [
    ['allow', host],
    ['deny', host, PUSHES],
  ]);
  const client = await wire(proxy.port);
  client.send(connectTo(`${HOST}:${port}`));
  t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 200');
  client.send(`SSH-2.0-x\r\n${'.'.repeat(100)}`);
  t.match(await proxy.nextOutcome(), { code: 'SALLYPORT_TLS_HELLO_INVALID' });
  t.strictSame(seen, []);
  client.socket.destroy();
});

tap.test('a host on the bypass list cannot be judged, and is refused', async (t) => {
  const { proxy, port } = await scene(t, (host) => [['allow', host, READS]], {
    settings: { bypassOf: () => HOST },
  });
  const client = await wire(proxy.port);
  client.send(connectTo(`${HOST}:${port}`));
  t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 403');
  t.match(await proxy.nextOutcome(), { verdict: 'deny', reason: /bypass list/ });
});

const TUNNELS = { id: 'tunnels', http: parseHttpMatch(['CONNECT'], []) };

tap.test('a deny of CONNECT keeps the tunnel closed, and what is forwarded open', async (t) => {
  for (const deny of ['connect', 'inside'] as const) {
    const { proxy, port, seen } = await scene(
      t,
      (host) => [
        ['allow', host],
        ['deny', host, TUNNELS],
      ],
      { settings: { deny } },
    );
    const client = await wire(proxy.port);
    t.teardown(() => client.socket.destroy());
    client.send(connectTo(`${HOST}:${port}`));
    t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 403', 'not even to tell of it inside');
    t.match(await proxy.nextOutcome(), { verdict: 'deny', deny_kind: 'explicit', rule: 'tunnels' });
    t.strictSame(seen, []);
  }
  const origin = createServer((_, response) => response.end('ok'));
  const port = await listening(t, origin);
  const proxy = await startProxy({
    rules: [
      ['allow', `${HOST}:${port}`],
      ['deny', `${HOST}:${port}`, TUNNELS],
    ],
  });
  t.teardown(() => proxy.close());
  const client = await wire(proxy.port);
  t.teardown(() => client.socket.destroy());
  client.send(`GET http://${HOST}:${port}/ HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`);
  t.match(await client.until('\r\n'), 'HTTP/1.1 200');
});

tap.test('a deny of some paths is about no CONNECT: it has none', async (t) => {
  for (const path of ['/', '/*', '/x', '/**/x']) {
    const { proxy, port } = await scene(t, (host) => [
      ['allow', host],
      ['deny', host, { http: parseHttpMatch(['ANY'], [path]) }],
    ]);
    const client = await wire(proxy.port);
    t.teardown(() => client.socket.destroy());
    client.send(connectTo(`${HOST}:${port}`));
    t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 200', path);
  }
});

tap.test('over plain HTTP', async (t) => {
  const seen: string[] = [];
  const origin = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.end('ok');
  });
  const port = await listening(t, origin);
  const proxy = await startProxy({ rules: [['allow', `${HOST}:${port}`, READS]] });
  t.teardown(() => proxy.close());
  for (const [method, path, status] of [
    ['GET', '/repos/a', 200],
    ['PUT', '/repos/a', 403],
    ['GET', '/repos/%2e%2e/a', 403],
  ] as const) {
    const client = await wire(proxy.port);
    client.send(
      `${method} http://${HOST}:${port}${path} HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`,
    );
    t.match(await client.until('\r\n'), `HTTP/1.1 ${status}`, `${method} ${path}`);
    client.socket.destroy();
  }
  t.strictSame(seen, ['GET /repos/a']);
});

tap.test('no upgrade carries requests that nobody judges', async (t) => {
  for (const protocol of ['h2c', 'TLS/1.2', 'HTTP/2.0']) {
    const origin = await tcpOrigin((socket) => {
      socket.once('data', (head) => {
        const takes = /\r\nupgrade:/i.test(String(head));
        const answer = takes ? `101 Ok\r\nConnection: upgrade\r\nUpgrade: ${protocol}` : '204 No';
        socket.write(`HTTP/1.1 ${answer}\r\n\r\n`);
      });
    });
    const proxy = await startProxy({ rules: [['allow', `${HOST}:${origin.port}`, READS]] });
    t.teardown(() => proxy.close());
    t.teardown(() => origin.close());
    const client = await wire(proxy.port);
    t.teardown(() => client.socket.destroy());
    const fields = `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABk`;
    const at = `http://${HOST}:${origin.port}`;
    const more = `POST ${at}/users HTTP/1.1\r\nHost: ${HOST}:${origin.port}\r\n\r\n`;
    client.send(
      `${more.replace('POST', 'GET').replace('/users', '/repos/a').slice(0, -2)}${fields}\r\n\r\n`,
    );
    t.equal((await client.response()).status, 204, protocol);
    client.send(more);
    t.equal((await client.response()).status, 403, 'judged as any request');
    t.notMatch(origin.received, /POST|HTTP2-Settings/i);
  }
});
