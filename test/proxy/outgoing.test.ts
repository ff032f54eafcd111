// Placeholders in the content of requests: replaced where that was asked for, and nothing else touched.
import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import tap, { type Test } from 'tap';
import { SUBSTITUTED_CONTENT_BYTES_MAX } from '../../src/base/limits.ts';
import type { CustomBinding } from '../../src/credentials/binding.ts';
import { placeholderFor } from '../../src/credentials/placeholder.ts';
import type { Outcome } from '../../src/proxy/exchange.ts';
import { heap } from '../helpers/heap.ts';
import {
  ask,
  BINDING,
  certificate,
  http2Inside,
  interceptor,
  listening,
  tlsInside,
} from '../helpers/intercept.ts';
import type { TestProxy } from '../helpers/proxy.ts';
import { Wire } from '../helpers/wire.ts';

const VALUE = 'a "secret" & more=';

const CUSTOM: CustomBinding = {
  kind: 'custom',
  id: 'the-custom',
  scope: 0,
  hosts: ['localhost'],
  plaintext: false,
  scrub: 'off',
  onDemand: false,
  value: VALUE,
  env: 'TOKEN',
  placeholder: 'sbx-cs-{rand}',
  placeholderKey: 'ab'.repeat(32),
  in: ['content'],
};
const HELD = placeholderFor(CUSTOM, 1);

function isPost({ method }: Outcome): boolean {
  return method === 'POST';
}

type Seen = { readonly content: Buffer; readonly headers: Record<string, unknown> };

async function scene(
  t: Test,
  binding = CUSTOM,
): Promise<{ proxy: TestProxy; port: number; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createSecureServer(
    { ...certificate, allowHTTP1: true },
    async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      seen.push({ content: Buffer.concat(chunks), headers: request.headers });
      response.end('ok');
    },
  );
  const port = await listening(t, server);
  return { proxy: await interceptor(t, [port], { bindings: [binding] }), port, seen };
}

async function post(
  t: Test,
  proxy: TestProxy,
  port: number,
  head: string,
  content: string,
): Promise<string> {
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  client.send(`POST / HTTP/1.1\r\nHost: localhost:${port}\r\n${head}\r\n${content}`);
  return (await client.until('\r\n\r\n')) + client.text;
}

const TEXTS: Readonly<Record<string, string>> = {
  'application/json': JSON.stringify({ token: VALUE }),
  'application/vnd.api+json; charset=utf-8': JSON.stringify({ token: VALUE }),
  'application/x-www-form-urlencoded': `a=1&token=${encodeURIComponent(VALUE)}`,
  'Text/Plain': `token: ${VALUE} and`,
  'multipart/form-data; boundary=b': `--b\r\n\r\n${VALUE}\r\n--b--`,
};

for (const [type, wanted] of Object.entries(TEXTS)) {
  tap.test(`a placeholder in ${type}`, async (t) => {
    const { proxy, port, seen } = await scene(t);
    const content = [VALUE, encodeURIComponent(VALUE), JSON.stringify(VALUE).slice(1, -1)].reduce(
      (text, value) => text.replace(value, HELD),
      wanted,
    );
    t.ok(content.includes(HELD));
    const length = Buffer.byteLength(content);
    await post(t, proxy, port, `Content-Type: ${type}\r\nContent-Length: ${length}\r\n`, content);
    t.equal(String(seen[0]?.content), wanted);
    t.equal(seen[0]?.headers['content-length'], String(Buffer.byteLength(wanted)));
    while (!proxy.outcomes.some(isPost)) await proxy.nextOutcome();
    const outcome = proxy.outcomes.find(isPost);
    t.equal(outcome?.injected, 'the-custom');
    const session = await http2Inside(t, proxy, port);
    await ask(session, { ':method': 'POST', ':path': '/', 'content-type': type }, content);
    t.equal(String(seen[1]?.content), wanted, 'over HTTP/2, too');
  });
}

tap.test('content in chunks, which waits for a 100', async (t) => {
  const { proxy, port, seen } = await scene(t);
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  client.send(
    `POST / HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Type: text/plain\r\n` +
      'Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n',
  );
  await client.until('HTTP/1.1 100 Continue\r\n\r\n');
  client.send(`5\r\n${HELD.slice(0, 5)}\r\n`);
  client.send(`${(HELD.length - 5).toString(16)}\r\n${HELD.slice(5)}\r\n0\r\n\r\n`);
  t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 200');
  t.equal(String(seen[0]?.content), VALUE);
});

const UNTOUCHED: Readonly<Record<string, { type: string; content: Buffer; coding?: string }>> = {
  'of another type': { type: 'application/octet-stream', content: Buffer.from(HELD) },
  'in a coding': { type: 'text/plain', content: gzipSync(HELD), coding: 'gzip' },
  'that is too long': {
    type: 'text/plain',
    content: Buffer.from(HELD + 'x'.repeat(SUBSTITUTED_CONTENT_BYTES_MAX)),
  },
  'without a placeholder': { type: 'text/plain', content: Buffer.from([0, 255, 128, 10]) },
};

for (const [what, { type, content, coding }] of Object.entries(UNTOUCHED)) {
  tap.test(`content ${what} passes as it is`, async (t) => {
    const { proxy, port, seen } = await scene(t);
    const session = await http2Inside(t, proxy, port);
    const fields = {
      ':method': 'POST',
      ':path': '/',
      'content-type': type,
      ...(coding && { 'content-encoding': coding }),
    };
    await ask(session, fields, content);
    t.ok(seen[0]?.content.equals(content), 'its length unknown');
    await ask(session, { ...fields, 'content-length': String(content.length) }, content);
    t.ok(seen[1]?.content.equals(content), 'its length known');
  });
}

tap.test('only who asked for it', async (t) => {
  const { proxy, port, seen } = await scene(t, { ...CUSTOM, in: ['fields'] });
  const session = await http2Inside(t, proxy, port);
  const fields = { ':method': 'POST', ':path': '/', 'content-type': 'text/plain' };
  await ask(session, fields, HELD);
  t.equal(String(seen[0]?.content), HELD);
});

tap.test("another sandbox's placeholder in content is refused", async (t) => {
  const { proxy, port, seen } = await scene(t);
  const answer = await post(
    t,
    proxy,
    port,
    `Content-Type: text/plain\r\nContent-Length: ${HELD.length}\r\n`,
    placeholderFor(CUSTOM, 2),
  );
  t.match(answer, 'HTTP/1.1 403');
  t.match(answer, 'SALLYPORT_CREDENTIAL_MISUSED');
  t.same(seen, []);
});

tap.test('content that breaks off reaches nobody', async (t) => {
  const { proxy, port, seen } = await scene(t);
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  client.send(
    `POST / HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Type: text/plain\r\n` +
      `Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzz\r\n`,
  );
  t.match(await client.until('\r\n\r\n'), 'HTTP/1.1 400');
  t.same(seen, []);
});

tap.test('a request that is echoed by its method carries no credential', async (t) => {
  for (const bindings of [[BINDING], [{ ...CUSTOM, in: ['fields'] } as const]]) {
    let asked = 0;
    const server = createServer(certificate, (request, response) => {
      asked++;
      response.end(request.rawHeaders.join());
    });
    const port = await listening(t, server);
    const proxy = await interceptor(t, [port], { bindings });
    for (const method of ['TRACE', 'TRACK', 'trace']) {
      const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
      client.send(`${method} / HTTP/1.1\r\nHost: localhost:${port}\r\nX-Any: ${HELD}\r\n\r\n`);
      const { status, content } = await client.response();
      t.equal(status, 403, method);
      t.match(content, 'SALLYPORT_CREDENTIAL_ECHOED');
      client.socket.destroy();
    }
    const session = await http2Inside(t, proxy, port);
    t.equal((await ask(session, { ':method': 'TRACE', ':path': '/' }, '')).status, 403);
    t.equal(asked, 0);
  }
});

tap.test('content that comes byte by byte takes little more than its length', async (t) => {
  const used = async (): Promise<number> => {
    for (let i = 0; i < 3; i++) {
      heap();
      await nextTurn(); // Finalizers of what was collected.
    }
    return heap();
  };
  const { proxy, port, seen } = await scene(t);
  const client = await tlsInside(t, proxy, port, 'http/1.1');
  const send = promisify((text: string, done: () => void) => client.write(text, done));
  const bytes = 10_000;
  await send(
    `POST / HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${bytes + 1}\r\n\r\n`,
  );
  const before = await used();
  for (let i = 0; i < bytes; i++) await send('a');
  const held = (await used()) - before;
  t.ok(held < 50 * bytes, `${held} bytes are held`); // In a list each takes some 200.
  await send('a');
  await once(client, 'data');
  t.equal(seen[0]?.content.length, bytes + 1);
});
