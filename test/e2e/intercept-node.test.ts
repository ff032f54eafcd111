// Libraries and a browser, unchanged, through hosts that are intercepted: undici, ws, gRPC, Chromium.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent } from 'node:https';
import type { Duplex } from 'node:stream';
import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { ProxyAgent, request } from 'undici';
import { WebSocket, WebSocketServer } from 'ws';
import { filesWith, SANDBOX, type Sandboxed, sandboxed } from '../helpers/sandboxed.ts';
import { within } from '../helpers/wire.ts';

let world: Sandboxed;
t.before(async () => {
  world = await sandboxed(t, '--workers', '2', '--default-sandbox', SANDBOX);
});

t.test('undici with a ProxyAgent', async (t) => {
  const host = 'undici.origin.test';
  const secret = 'undici-secret-0123456789';
  const placeholder = await world.secret(secret, 'UNDICI_KEY', '--host', host);
  world.origin.handlers.set(host, (incoming, response) => void incoming.pipe(response));
  for (const [allowH2, version] of [
    [false, '1.1'],
    [true, '2.0'],
  ] as const) {
    const requestTls = { ca: world.ca, allowH2 };
    const agent = new ProxyAgent({ uri: world.proxyUrl, requestTls, allowH2 });
    t.teardown(() => agent.close());
    const answer = await request(`https://${host}:${world.origin.port}/echo`, {
      dispatcher: agent,
      method: 'POST',
      headers: { 'x-api-key': placeholder },
      body: `the content holds ${placeholder}, which stays`,
    });
    t.equal(await answer.body.text(), `the content holds ${placeholder}, which stays`);
    t.match(world.origin.to(host).at(-1), { version, headers: { 'x-api-key': secret } });
  }
});

t.test("Node's own fetch, by the environment alone", async (t) => {
  const host = 'fetch.origin.test';
  const secret = 'fetch-secret-0123456789';
  const placeholder = await world.secret(secret, 'FETCH_KEY', '--host', host);
  world.origin.handlers.set(host, (_, response) => void response.end('content'));
  const program = `
    const { FETCH_KEY: key, URL: url } = process.env;
    const answer = await fetch(url, { headers: { authorization: 'Bearer ' + key } });
    console.log(answer.status, await answer.text());`;
  const url = `https://${host}:${world.origin.port}/`;
  const ran = await world.run('fetch', 'env', [
    ...[`FETCH_KEY=${placeholder}`, `URL=${url}`, 'NODE_USE_ENV_PROXY=1'],
    ...[process.execPath, '--input-type=module', '-e', program],
  ]);
  t.equal(ran.out, '200 content\n', ran.err);
  t.match(world.origin.to(host), [{ headers: { authorization: `Bearer ${secret}` } }]);
  t.strictSame(filesWith(world.folderOf('fetch'), [secret]), []);
});

/** Answers WebSockets of this host: each message comes back. @returns the requests for them. */
function serveWebSockets(t: Test, host: string): IncomingMessage[] {
  const asked: IncomingMessage[] = [];
  const sockets = new WebSocketServer({ noServer: true });
  t.teardown(() => sockets.close());
  world.origin.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.headers.host !== `${host}:${world.origin.port}`) return;
    asked.push(request);
    sockets.handleUpgrade(request, socket, head, (one) => {
      one.on('message', (data) => one.send(`echo ${data}`));
    });
  });
  return asked;
}

t.test('ws', async (t) => {
  const host = 'ws.origin.test';
  const secret = 'ws-secret-0123456789';
  const placeholder = await world.secret(secret, 'WS_KEY', '--host', host);
  const asked = serveWebSockets(t, host);
  const agent = new Agent({ proxyEnv: { HTTPS_PROXY: world.proxyUrl }, ca: world.ca });
  t.teardown(() => agent.destroy());
  const socket = new WebSocket(`wss://${host}:${world.origin.port}/chat?key=${placeholder}`, {
    agent,
    headers: { authorization: `Bearer ${placeholder}` },
  });
  t.teardown(() => socket.terminate());
  await within('the WebSocket', once(socket, 'open'));
  for (const message of ['one', 'x'.repeat(200_000)]) {
    socket.send(message);
    const [echo] = await within('the echo', once(socket, 'message'));
    t.ok(String(echo) === `echo ${message}`);
  }
  t.match(asked, [{ url: `/chat?key=${secret}`, headers: { authorization: `Bearer ${secret}` } }]);
});

type Method = MethodDefinition<Buffer, Buffer>;
const same = (value: Buffer): Buffer => value;
const method = (name: string, stream: boolean): Method => ({
  path: `/tests.Echo/${name}`,
  requestStream: stream,
  responseStream: stream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const ECHO = { unary: method('unary', false), chat: method('chat', true) };

/** @returns the port of a gRPC server, and the field `authorization` of each call. */
async function grpcServer(t: Test): Promise<{ port: number; seen: unknown[] }> {
  const seen: unknown[] = [];
  const server = new Server();
  t.teardown(() => server.forceShutdown());
  server.addService(ECHO, {
    unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      seen.push(call.metadata.get('authorization')[0]);
      done(null, call.request);
    },
    chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
      seen.push(call.metadata.get('authorization')[0]);
      call.on('data', (piece: Buffer) => call.write(piece));
      call.on('end', () => call.end());
    },
  });
  const { key, cert } = world.certificate;
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) };
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, port) =>
    error === null ? resolve(port) : reject(error),
  );
  return { port: await promise, seen };
}

t.test('@grpc/grpc-js by grpc_proxy: one call, and a conversation', async (t) => {
  const host = 'grpc.origin.test';
  const secret = 'grpc-secret-0123456789';
  const placeholder = await world.secret(secret, 'GRPC_TOKEN', '--host', host);
  const { port, seen } = await grpcServer(t);
  process.env.grpc_proxy = world.proxyUrl;
  const client = new Client(`${host}:${port}`, credentials.createSsl(Buffer.from(world.ca)));
  delete process.env.grpc_proxy;
  t.teardown(() => client.close());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${placeholder}`);
  const answer = new Promise<unknown>((resolve) => {
    const done = (error: Error | null, value?: Buffer): void => resolve(error ?? String(value));
    client.makeUnaryRequest(ECHO.unary.path, same, same, Buffer.from('hello'), metadata, done);
  });
  t.equal(await within('the answer', answer), 'hello');
  const chat = client.makeBidiStreamRequest(ECHO.chat.path, same, same, metadata);
  for (const word of ['one', 'two']) {
    chat.write(Buffer.from(word));
    const [echo] = await within('the echo, before the next word', once(chat, 'data'));
    t.equal(String(echo), word);
  }
  chat.end();
  const [end] = await within('the status', once(chat, 'status'));
  t.equal(end.code, 0);
  t.strictSame(seen, [`Bearer ${secret}`, `Bearer ${secret}`]);
});

/** @returns whether a program of this name is on the path. */
function isInstalled(program: string): boolean {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A page that asks its origin in three ways, each with the placeholder, and shows what came of it. */
function pageWith(placeholder: string): string {
  return `<!doctype html><title>x</title><p id=out>nothing yet</p><script>
    const key = '${placeholder}';
    const asked = fetch('/api', { headers: { authorization: 'Bearer ' + key } }).then((a) => a.text());
    const heard = new Promise((done) => {
      const events = new EventSource('/events?key=' + key);
      events.onmessage = ({ data }) => { events.close(); done(data); };
    });
    const echoed = new Promise((done) => {
      const socket = new WebSocket('wss://' + location.host + '/socket?key=' + key);
      socket.onopen = () => socket.send('hi');
      socket.onmessage = ({ data }) => { socket.close(); done(data); };
    });
    Promise.all([asked, heard, echoed]).then((all) => {
      document.getElementById('out').textContent = all.join(', ');
      return fetch('/done');
    });
  </script><img src=/gate>`;
}

const PAGE_MS = 20_000;

/** The page has loaded, and is printed, once it has said that it is done. */
function servePage(host: string, placeholder: string): void {
  const done = Promise.withResolvers<void>();
  const timer = setTimeout(done.resolve, PAGE_MS).unref();
  world.origin.handlers.set(host, async ({ url }, response) => {
    if (url === '/done') {
      clearTimeout(timer);
      done.resolve();
    }
    if (url === '/gate') await done.promise;
    const isEvents = url.startsWith('/events');
    response.setHeader('content-type', isEvents ? 'text/event-stream' : 'text/html');
    if (isEvents) response.end('data: event\n\n');
    else response.end(url === '/page' ? pageWith(placeholder) : 'answer');
  });
}

const noChromium =
  !(isInstalled('chromium') && isInstalled('certutil')) && 'chromium or certutil is not installed';

t.test('Chromium: a page, fetch, EventSource and WebSocket', { skip: noChromium }, async (t) => {
  const host = 'chromium.origin.test';
  const secret = 'chromium-secret-0123456789';
  const placeholder = await world.secret(secret, 'BROWSER_KEY', '--host', host);
  const asked = serveWebSockets(t, host);
  servePage(host, placeholder);
  const database = `${world.folderOf('chromium')}/.pki/nssdb`;
  await world.run('chromium', 'mkdir', ['-p', database]);
  await world.run('chromium', 'certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
  const trusted = ['-n', 'sallyport', '-t', 'C,,', '-i', world.caFile];
  const added = await world.run('chromium', 'certutil', [
    '-A',
    '-d',
    `sql:${database}`,
    ...trusted,
  ]);
  t.equal(added.code, 0, added.err);
  const ran = await world.run('chromium', 'chromium', [
    ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    ...['--disable-background-networking', '--disable-component-update', '--no-first-run'],
    `--proxy-server=http://127.0.0.1:${world.proxyPort}`,
    ...['--dump-dom', `https://${host}:${world.origin.port}/page`],
  ]);
  t.match(ran.out, '<p id="out">answer, event, echo hi</p>', 'the page got its answers');
  const seen = world.origin.to(host);
  t.ok(seen.every(({ version }) => version === '2.0'));
  const api = seen.find(({ url }) => url === '/api');
  t.equal(api?.headers.authorization, `Bearer ${secret}`);
  t.ok(seen.some(({ url }) => url === `/events?key=${secret}`));
  t.match(asked, [{ url: `/socket?key=${secret}` }]);
  t.notMatch(ran.out + ran.err, secret);
  t.strictSame(filesWith(world.folderOf('chromium'), [secret]), []);
});
