// Requests that two readers could cut differently (RFC 9112 section 11.2), on the wire: each is
// refused with its status and the end of the connection, and nothing of it reaches an origin.
import tap from 'tap';
import { startProxy } from '../helpers/proxy.ts';
import { outcomeAt, tcpOrigin, wire } from '../helpers/wire.ts';

const origin = await tcpOrigin((socket) => {
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'));
});
const proxy = await startProxy({ rules: [['allow', `localhost:${origin.port}`]] });
tap.teardown(async () => {
  await proxy.close();
  origin.close();
});

const AUTHORITY = `localhost:${origin.port}`;
const SMUGGLED = `GET http://${AUTHORITY}/smuggled HTTP/1.1\r\nHost: ${AUTHORITY}\r\n\r\n`;
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const post = (fields: string, content = ''): string =>
  `POST http://${AUTHORITY}/ HTTP/1.1\r\nHost: ${AUTHORITY}\r\n${fields}\r\n${content}`;
const line = (target: string, host = AUTHORITY): string =>
  `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** Refused by the head alone: the origin must not even be connected to. */
const HEADS: readonly [what: string, status: number, bytes: string][] = [
  ['length and chunks', 400, post(`Content-Length: 5\r\n${CHUNKED}`, '0\r\n\r\n')],
  ['chunks and length', 400, post(`${CHUNKED}Content-Length: 5\r\n`, '0\r\n\r\n')],
  ['two lengths that differ', 400, post('Content-Length: 5\r\nContent-Length: 6\r\n', 'hello')],
  ['two lengths that agree', 400, post('Content-Length: 5\r\ncontent-length: 5\r\n', 'hello')],
  ['a list of lengths', 400, post('Content-Length: 5, 5\r\n', 'hello')],
  ['a signed length', 400, post('Content-Length: +5\r\n', 'hello')],
  ['a negative length', 400, post('Content-Length: -5\r\n', 'hello')],
  ['a hexadecimal length', 400, post('Content-Length: 0x5\r\n', 'hello')],
  ['a spaced length', 400, post('Content-Length: 5 5\r\n', 'hello')],
  ['an empty length', 400, post('Content-Length:\r\n')],
  ['a length past all numbers', 400, post('Content-Length: 99999999999999999999\r\n')],
  ['a folded line', 400, post('X-A: b\r\n c\r\n')],
  ['a folded first line', 400, `GET http://${AUTHORITY}/ HTTP/1.1\r\n Host: ${AUTHORITY}\r\n\r\n`],
  ['a bare LF', 400, post('X-A: b\nX-C: d\r\n')],
  ['LF alone', 400, `GET http://${AUTHORITY}/ HTTP/1.1\nHost: ${AUTHORITY}\n\n`],
  ['a bare CR', 400, post('X-A: b\rX-C: d\r\n')],
  ['a NUL', 400, post('X-A: b\0c\r\n')],
  ['two Hosts', 400, post(`Host: ${AUTHORITY}\r\n`)],
  ['no Host', 400, `GET http://${AUTHORITY}/ HTTP/1.1\r\n\r\n`],
  ['a Host that disagrees', 400, line(`http://${AUTHORITY}/`, 'other.test')],
  ['a Host with another port', 400, line(`http://${AUTHORITY}/`, 'localhost:1')],
  ['a space before the colon', 400, post('Content-Length : 5\r\n', 'hello')],
  ['a name that is no token', 400, post('X(A): b\r\n')],
  ['no name', 400, post(': b\r\n')],
  ['chunks twice', 400, post('Transfer-Encoding: chunked, chunked\r\n', '0\r\n\r\n')],
  ['chunks not last', 400, post('Transfer-Encoding: chunked, gzip\r\n', '0\r\n\r\n')],
  ['chunks in HTTP/1.0', 400, post(CHUNKED, '0\r\n\r\n').replace('HTTP/1.1', 'HTTP/1.0')],
  ['another coding', 501, post('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['an unknown coding', 501, post('Transfer-Encoding: xchunked\r\n', '0\r\n\r\n')],
  ['an unknown expectation', 417, post('Expect: 200-ok\r\n')],
  ['another version', 505, `GET http://${AUTHORITY}/ HTTP/2.0\r\nHost: ${AUTHORITY}\r\n\r\n`],
  ['no version', 400, `GET http://${AUTHORITY}/\r\n\r\n`],
  ['two spaces', 400, `GET  http://${AUTHORITY}/ HTTP/1.1\r\nHost: ${AUTHORITY}\r\n\r\n`],
  ['userinfo', 400, line(`http://user@${AUTHORITY}/`)],
  ['a fragment', 400, line(`http://${AUTHORITY}/#a`)],
  ['a backslash', 400, line(`http://${AUTHORITY}\\@other.test/`)],
  ['a NUL in the host', 400, line('http://a\0.test/', 'a.test')],
  ['a port too large', 400, line('http://localhost:65979/')],
  ['https in absolute-form', 400, line('https://localhost/', 'localhost')],
  ['a target past its bound', 414, line(`http://${AUTHORITY}/${'a'.repeat(40_000)}`)],
  ['a head past its bound', 431, post(`X-A: ${'a'.repeat(70_000)}\r\n`)],
  ['Connection that names Host', 400, post('Connection: host\r\n')],
  ['binary', 400, '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
];

for (const [what, status, bytes] of HEADS) {
  tap.test(`${what} is ${status}`, async (t) => {
    const before = proxy.outcomes.length;
    const connections = origin.connections;
    const client = await wire(proxy.port);
    client.send(bytes + SMUGGLED);
    const answer = await client.toEnd();
    client.socket.destroy();
    t.equal(answer.slice(9, 12), String(status));
    t.match(answer, /\r\nConnection: close\r\n/);
    t.equal(answer.match(/HTTP\/1\.1 \d{3} /g)?.length, 1, 'one answer');
    const outcome = await outcomeAt(proxy, before);
    t.match(outcome, { status, verdict: 'none', address: null });
    t.ok(answer.includes(`X-Sallyport-Code: ${outcome.code}\r\n`), outcome.code ?? 'no code');
    t.equal(origin.connections, connections);
    t.equal(proxy.outcomes.length, before + 1);
  });
}

/** Refused in the content: what stood before may have passed, what comes behind never does. */
const CONTENTS: readonly [what: string, content: string][] = [
  ['no hexadecimal size', 'g\r\nhello\r\n0\r\n\r\n'],
  ['a signed size', '+5\r\nhello\r\n0\r\n\r\n'],
  ['a prefixed size', '0x5\r\nhello\r\n0\r\n\r\n'],
  ['a space before the size', ' 5\r\nhello\r\n0\r\n\r\n'],
  ['an empty size', '\r\nhello\r\n0\r\n\r\n'],
  ['LF behind the size', '5\nhello\r\n0\r\n\r\n'],
  ['LF behind the data', '5\r\nhello\n0\r\n\r\n'],
  ['data longer than said', '5\r\nhello!\r\n0\r\n\r\n'],
  ['LF in an extension', '5;a\nb\r\nhello\r\n0\r\n\r\n'],
  ['CR in an extension', '5;a\rb\r\nhello\r\n0\r\n\r\n'],
  ['an endless extension', `5;${'a'.repeat(2_000)}\r\nhello\r\n0\r\n\r\n`],
  ['a size past all numbers', 'ffffffffffffffffff\r\nhello\r\n0\r\n\r\n'],
  ['LF in the trailers', '5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n'],
  ['a trailer that is none', '5\r\nhello\r\n0\r\nX : a\r\n\r\n'],
];

for (const [what, content] of CONTENTS) {
  for (const apart of [false, true]) {
    tap.test(`chunks with ${what}${apart ? ', after the head' : ''}`, async (t) => {
      const before = proxy.outcomes.length;
      const client = await wire(proxy.port);
      client.send(post(CHUNKED, apart ? '' : content + SMUGGLED));
      if (apart) {
        await new Promise(setImmediate);
        client.send(content + SMUGGLED);
      }
      const answer = await client.toEnd();
      client.socket.destroy();
      t.match(answer, /^HTTP\/1\.1 400 /);
      t.match(answer, /X-Sallyport-Code: SALLYPORT_REQUEST_MALFORMED\r\n/);
      t.equal(answer.match(/HTTP\/1\.1 \d{3} /g)?.length, 1, 'one answer');
      t.match(await outcomeAt(proxy, before), { status: 400, code: 'SALLYPORT_REQUEST_MALFORMED' });
      t.notMatch(origin.received, /smuggled|GET/);
    });
  }
}

tap.test('content that ends too soon', async (t) => {
  const before = proxy.outcomes.length;
  for (const bytes of [post('Content-Length: 10\r\n', 'hello'), post(CHUNKED, '5\r\nhel')]) {
    const client = await wire(proxy.port);
    client.send(bytes);
    client.socket.end();
    t.match(await client.toEnd(), /^HTTP\/1\.1 400 /);
  }
  t.match(await outcomeAt(proxy, before + 1), { code: 'SALLYPORT_REQUEST_MALFORMED' });
});

tap.test('a request that hides in the content of another stays content', async (t) => {
  const client = await wire(proxy.port);
  client.send(post(`Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED));
  t.equal((await client.response()).status, 200);
  t.match(origin.received.slice(-SMUGGLED.length), SMUGGLED);
  client.socket.destroy();
});
