// What happens in a tunnel that the proxy speaks in: who is let in, and what each request is worth.
import { once } from 'node:events';
import { createSecureServer } from 'node:http2';
import { createServer } from 'node:https';
import { connect as connectTls } from 'node:tls';
import tap from 'tap';
import { TestAuthority } from '../helpers/certificates.ts';
import {
  ask,
  certificate,
  clientHello,
  http2Inside,
  interceptor,
  listening,
  SECRET,
  tlsInside,
  tunnel,
} from '../helpers/intercept.ts';
import { connectTo, outcomeAt, tcpOrigin, Wire, wire, within } from '../helpers/wire.ts';

const { key, cert, authority } = certificate;

const echo = () =>
  createServer({ key, cert }, (request, response) => {
    response.end(JSON.stringify({ url: request.url, fields: request.headers }));
  });

tap.test('HTTP/1.1 inside: each request is judged, and has the credential', async (t) => {
  const port = await listening(t, echo());
  const proxy = await interceptor(t, [port]);
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  for (const path of ['/one?a=b', '/two']) {
    client.send(`GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\nX-Api-Key: mine\r\n\r\n`);
    const { status, content } = await client.response();
    t.equal(status, 200);
    const { url, fields } = JSON.parse(content);
    t.equal(url, path);
    t.equal(fields.authorization, `Bearer ${SECRET}`);
    t.notOk('x-api-key' in fields, 'what the client sent to authenticate is gone');
  }
  t.match(await outcomeAt(proxy, 0), {
    sandbox: 'box',
    ingress: 'connect',
    mode: 'forward',
    method: 'GET',
    path: '/one',
    host: 'localhost',
    verdict: 'allow',
    status: 200,
  });
  client.socket.destroy();
  t.match(await outcomeAt(proxy, 2), {
    method: 'CONNECT',
    path: null,
    mode: 'forward',
    status: 200,
    code: null,
  });
});

for (const [name, head, status, code] of [
  ['another Host', 'GET / HTTP/1.1\r\nHost: example.com\r\n', 421, 'SALLYPORT_MISDIRECTED'],
  ['another port', 'GET / HTTP/1.1\r\nHost: localhost\r\n', 421, 'SALLYPORT_MISDIRECTED'],
  [
    'absolute-form',
    'GET http://localhost/ HTTP/1.1\r\nHost: HOST\r\n',
    400,
    'SALLYPORT_TARGET_INVALID',
  ],
  [
    'CONNECT',
    'CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n',
    400,
    'SALLYPORT_TARGET_INVALID',
  ],
  [
    'two lengths',
    'GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2\r\n',
    400,
    'SALLYPORT_REQUEST_MALFORMED',
  ],
] as const) {
  tap.test(`inside a tunnel, ${name} is refused`, async (t) => {
    const origin = await tcpOrigin(() => {});
    t.teardown(() => origin.close());
    const proxy = await interceptor(t, [origin.port]);
    const client = new Wire(await tlsInside(t, proxy, origin.port, 'http/1.1'));
    client.send(`${head.replace('HOST', `localhost:${origin.port}`)}\r\n`);
    t.equal((await client.response()).status, status);
    t.match(await outcomeAt(proxy, 0), { sandbox: 'box', mode: 'forward', status, code });
    t.equal(origin.connections, 0, 'nothing was dialled');
  });
}

tap.test('whom TLS names must be whom CONNECT named', async (t) => {
  const origin = await tcpOrigin(() => {});
  t.teardown(() => origin.close());
  const proxy = await interceptor(t, [origin.port]);
  for (const [index, servername] of ['example.com', ''].entries()) {
    const { socket } = await tunnel(t, proxy, `localhost:${origin.port}`);
    socket.removeAllListeners('data');
    const secure = connectTls({ socket, servername, ca: authority });
    const [error] = await within('the alert', once(secure, 'error'));
    t.match(error, { code: 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME' });
    t.match(await outcomeAt(proxy, index), {
      code: 'SALLYPORT_TLS_NAME_MISMATCH',
      reason: new RegExp(`the ClientHello ${servername || 'nobody'}`),
    });
  }
  t.equal(origin.connections, 0);
});

tap.test('what is not TLS does not pass', async (t) => {
  const origin = await tcpOrigin(() => {});
  t.teardown(() => origin.close());
  const proxy = await interceptor(t, [origin.port]);
  const client = await tunnel(t, proxy, `localhost:${origin.port}`);
  client.send(`GET / HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`);
  await client.toEnd();
  t.match(await outcomeAt(proxy, 0), { code: 'SALLYPORT_TLS_HELLO_INVALID', method: 'CONNECT' });
  t.equal(origin.connections, 0);
});

tap.test('a ClientHello that comes with the CONNECT, and one in pieces', async (t) => {
  const port = await listening(t, echo());
  const proxy = await interceptor(t, [port]);
  const record = await clientHello('localhost');
  for (const pieces of [[record], [...record].map((byte) => Buffer.of(byte))]) {
    const client = await wire(proxy.port);
    t.teardown(() => client.socket.destroy());
    client.send(connectTo(`localhost:${port}`));
    for (const piece of pieces) client.send(piece);
    await client.until('established\r\n\r\n');
    t.equal(await client.bytes(3), '\x16\x03\x03', 'a ServerHello');
  }
});

tap.test('a client that does not trust the authority is recorded as such', async (t) => {
  const port = await listening(t, echo());
  const proxy = await interceptor(t, [port]);
  const { socket } = await tunnel(t, proxy, `localhost:${port}`);
  socket.removeAllListeners('data');
  const secure = connectTls({ socket, servername: 'localhost' });
  await within('the refusal', once(secure, 'error'));
  t.match(await outcomeAt(proxy, 0), {
    code: 'SALLYPORT_TLS_HANDSHAKE_FAILED',
    reason: /the client broke off/,
    status: 200,
  });
});

tap.test('a refusal is read inside TLS, on either version, or on CONNECT', async (t) => {
  const inside = await interceptor(t, [], { allowed: 'example.com', settings: { deny: 'inside' } });
  const session = await http2Inside(t, inside, 443);
  const got = await ask(session, { ':path': '/', ':authority': 'localhost' });
  t.equal(got.status, 403);
  t.match(got.content, /^Blocked by network policy: domain localhost:443/);
  t.equal(got.headers['x-sallyport-code'], 'SALLYPORT_DENIED');
  const client = new Wire(await tlsInside(t, inside, 443, 'http/1.1'));
  client.send('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
  t.equal((await client.response()).status, 403);
  t.match(await outcomeAt(inside, 0), { verdict: 'deny', status: 403, mode: 'forward' });

  const outside = await interceptor(t, [], { allowed: 'example.com' });
  const refused = await wire(outside.port);
  t.teardown(() => refused.socket.destroy());
  refused.send(connectTo('localhost:443'));
  t.equal((await refused.response()).status, 403);
});

tap.test('a host that is bypassed is relayed blind, credential or not', async (t) => {
  const port = await listening(t, echo());
  const proxy = await interceptor(t, [port], { settings: { bypassOf: () => 'localhost' } });
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  client.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: close\r\n\r\n`);
  const { content } = await client.response();
  t.notMatch(content, SECRET);
  client.socket.destroy();
  const record = { mode: 'forward-bypass', method: 'CONNECT', bypass: 'localhost' };
  t.match(await outcomeAt(proxy, 0), record);
});

tap.test('an origin that cannot prove who it is gets nothing, and the client a 502', async (t) => {
  const stranger = TestAuthority.create('Somebody else').issue({ names: 'DNS:localhost' });
  const port = await listening(t, createSecureServer({ ...stranger, allowHTTP1: true }));
  const proxy = await interceptor(t, [port]);
  const client = new Wire(await tlsInside(t, proxy, port, 'http/1.1'));
  client.send(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`);
  const { status, content } = await client.response();
  t.equal(status, 502);
  t.match(content, /certificate of localhost:\d+ is refused/);
  const session = await http2Inside(t, proxy, port);
  t.equal((await ask(session, { ':path': '/' })).status, 502);
  for (const index of [0, 1]) {
    t.match(await outcomeAt(proxy, index), { code: 'SALLYPORT_UPSTREAM_CERTIFICATE', status: 502 });
  }
});
