// Programs that people run in sandboxes, unchanged, through the proxy: curl, git, npm, a pip-like
// Python client, WebSocket and SSE clients. Each against an origin here, over http and https.
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, get, type IncomingMessage, type RequestListener, request } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { type WebSocket, WebSocketServer } from 'ws';
import { localhostCertificate } from '../helpers/certificate.ts';
import { type Cli, execute, isolatedCli, type Ran } from '../helpers/cli.ts';

type World = {
  readonly cli: Cli;
  readonly proxy: number;
  /** Folder that the origin serves. */
  readonly root: string;
  readonly http: string;
  readonly https: string;
  /** Runs a program in the sandbox's environment. */
  sandboxed(command: string, ...args: string[]): Promise<Ran>;
};

async function world(t: Test): Promise<World> {
  const cli = isolatedCli(t);
  const root = join(cli.folder, 'www');
  mkdirSync(root);
  const serve: RequestListener = (incoming, response) => {
    const path = normalize(new URL(incoming.url ?? '/', 'http://x').pathname);
    try {
      response.end(readFileSync(join(root, path)));
    } catch {
      response.writeHead(404).end('no such file');
    }
  };
  const certificate = localhostCertificate();
  const ca = join(cli.folder, 'ca.pem');
  writeFileSync(ca, certificate.cert);
  const plain = createServer(serve).listen(0, '127.0.0.1');
  const secure = createTlsServer(certificate, serve).listen(0, '127.0.0.1');
  await Promise.all([once(plain, 'listening'), once(secure, 'listening')]);
  t.teardown(() => {
    for (const server of [plain, secure]) {
      server.closeAllConnections();
      server.close();
    }
  });
  const proxy = await cli.start('--policy', 'deny-all');
  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'add', 'box', '--json'));
  const [plainPort, securePort] = [plain, secure].map((one) => (one.address() as AddressInfo).port);
  await cli.ok(
    'policy',
    'allow',
    'network',
    '--sandbox',
    'box',
    `localhost:${plainPort},localhost:${securePort}`,
  );
  const env = {
    ...cli.env,
    http_proxy: proxy_url,
    https_proxy: proxy_url,
    HTTP_PROXY: proxy_url,
    HTTPS_PROXY: proxy_url,
    no_proxy: '',
    NO_PROXY: '',
    CURL_CA_BUNDLE: ca,
    GIT_SSL_CAINFO: ca,
    SSL_CERT_FILE: ca,
    NODE_EXTRA_CA_CERTS: ca,
    GIT_CONFIG_GLOBAL: '/dev/null',
    npm_config_cache: join(cli.folder, 'npm-cache'),
    npm_config_update_notifier: 'false',
  };
  return {
    cli,
    proxy,
    root,
    http: `http://localhost:${plainPort}`,
    https: `https://localhost:${securePort}`,
    sandboxed: (command, ...args) => execute(command, args, env, cli.folder),
  };
}

t.test('curl: http, https, and a refusal that says why', async (t) => {
  const { sandboxed, root, http, https } = await world(t);
  writeFileSync(join(root, 'file'), 'content');
  for (const origin of [http, https]) {
    const ran = await sandboxed('curl', '-sS', `${origin}/file`);
    t.equal(ran.out, 'content', ran.err);
  }
  const refused = await sandboxed(
    'curl',
    '-sS',
    '-w',
    '%{http_code}',
    'http://blocked.example.com/',
  );
  t.match(refused.out, /^Blocked by network policy: domain blocked\.example\.com:80\n[\s\S]*403$/);
  const tunnel = await sandboxed('curl', '-sS', 'https://blocked.example.com/');
  t.match(tunnel.err, '403');
  const posted = await sandboxed(
    'curl',
    '-sS',
    '-d',
    `@${join(root, 'file')}`,
    '-H',
    'Expect: 100-continue',
    `${http}/file`,
  );
  t.equal(posted.out, 'content', posted.err);
});

t.test('git clone over http and https', async (t) => {
  const { cli, sandboxed, root, http, https } = await world(t);
  const source = join(cli.folder, 'source');
  const git = async (...args: string[]): Promise<void> => {
    const ran = await sandboxed('git', ...args);
    t.equal(ran.code, 0, `git ${args.join(' ')}: ${ran.err}`);
  };
  await git('init', '-q', source);
  writeFileSync(join(source, 'hello.txt'), 'hello');
  await git('-C', source, 'add', '.');
  await git(
    '-C',
    source,
    '-c',
    'user.name=t',
    '-c',
    'user.email=t@t.example',
    'commit',
    '-qm',
    'one',
  );
  await git('clone', '-q', '--bare', source, join(root, 'repo.git'));
  await git('-C', join(root, 'repo.git'), 'update-server-info');
  for (const [name, origin] of [
    ['plain', http],
    ['secure', https],
  ] as const) {
    await git('clone', '-q', `${origin}/repo.git`, join(cli.folder, name));
    t.equal(readFileSync(join(cli.folder, name, 'hello.txt'), 'utf8'), 'hello');
  }
});

t.test('npm reads a registry through the proxy', async (t) => {
  const { sandboxed, root, http, cli } = await world(t);
  writeFileSync(
    join(root, 'left'),
    JSON.stringify({
      name: 'left',
      'dist-tags': { latest: '1.2.3' },
      versions: {
        '1.2.3': { name: 'left', version: '1.2.3', dist: { tarball: `${http}/left.tgz` } },
      },
    }),
  );
  const seen = await sandboxed('npm', 'view', 'left', 'version', `--registry=${http}/`);
  t.match(seen.out, '1.2.3', seen.err);
  const log = JSON.parse(await cli.ok('policy', 'log', '--json'));
  t.ok(
    log.allowed_hosts.some((row: { host: string }) => http.endsWith(row.host)),
    'it went through the proxy',
  );
});

t.test('a pip-like Python client downloads over http and https', async (t) => {
  const { sandboxed, root, http, https } = await world(t);
  writeFileSync(join(root, 'wheel.gz'), gzipSync('w'.repeat(100_000)));
  const program = `
import sys, urllib.request, gzip
for origin in sys.argv[1:]:
    data = urllib.request.urlopen(origin + '/wheel.gz', timeout=20).read()
    print(len(gzip.decompress(data)))
`;
  const ran = await sandboxed('python3', '-c', program, http, https);
  t.equal(ran.out, '100000\n100000\n', ran.err);
});

t.test('a WebSocket talks through plain HTTP, both ways', async (t) => {
  const { cli, proxy } = await world(t);
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  t.teardown(() => void server.close());
  server.on('connection', (socket: WebSocket) => {
    socket.on('message', (data) => socket.send(`echo ${data}`));
  });
  const { port } = server.address() as AddressInfo;
  await cli.ok('policy', 'allow', 'network', `localhost:${port}`);
  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'token', 'box', '--rotate', '--json'));
  const { username, password } = new URL(proxy_url);
  const asked = request({
    port: proxy,
    path: `http://localhost:${port}/`,
    headers: {
      host: `localhost:${port}`,
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'proxy-authorization': `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
    },
  });
  asked.end();
  const [response, socket] = await once(asked, 'upgrade');
  t.equal(response.statusCode, 101);
  t.equal(response.headers['sec-websocket-accept'], 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  socket.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69])); // "hi", masked with zeros.
  const [frame] = await once(socket, 'data');
  t.equal(frame.subarray(2).toString(), 'echo hi');
  socket.destroy();
});

t.test('server-sent events arrive one by one', async (t) => {
  const { cli, proxy } = await world(t);
  const release = Promise.withResolvers<void>();
  const server = createServer(async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: one\n\n');
    await release.promise; // The second event waits until the first was seen.
    response.end('data: two\n\n');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  const { port } = server.address() as AddressInfo;
  await cli.ok('policy', 'allow', 'network', `localhost:${port}`);
  const { proxy_url } = JSON.parse(await cli.ok('sandbox', 'token', 'box', '--rotate', '--json'));
  const { username, password } = new URL(proxy_url);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  const asked = get({
    port: proxy,
    path: `http://localhost:${port}/`,
    headers: { host: `localhost:${port}`, 'proxy-authorization': authorization },
  });
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const events: string[] = [];
  for await (const event of response) {
    events.push(String(event));
    release.resolve();
  }
  t.strictSame(events, ['data: one\n\n', 'data: two\n\n']);
});
