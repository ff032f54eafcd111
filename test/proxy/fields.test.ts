// Which fields pass, both ways, and that what passes is what undici takes and sends.
import { createServer } from 'node:http';
import t from 'tap';
import { Client } from 'undici';
import type { Address } from '../../src/policy/address.ts';
import type { Host } from '../../src/policy/host.ts';
import {
  fieldLines,
  forwardRequestFields,
  forwardResponseFields,
  forwardTrailers,
  hostField,
} from '../../src/proxy/fields.ts';
import { parseRequestHead, type RequestHead } from '../../src/proxy/head.ts';

const target = { host: 'a.test' as Host, port: 80 };
const plain = { via: false, forwardedFor: null, defaultPort: 80 };

function headOf(lines: string, start = 'POST http://a.test/ HTTP/1.1'): RequestHead {
  const bytes = Buffer.from(`${start}\r\nHost: A.test\r\n${lines}\r\n`, 'latin1');
  const head = parseRequestHead(bytes, 0, bytes.length);
  if (head === null) throw new Error('incomplete');
  return head;
}

t.test('request fields', (t) => {
  const table: [lines: string, forwarded: string[], why: string][] = [
    ['Accept: */*\r\naCcept: b\r\n', ['Accept', '*/*', 'aCcept', 'b'], 'end-to-end pass as sent'],
    [
      'Connection: close, X-Mine\r\nx-mine: 1\r\nX-MINE: 2\r\nX-Mine-Too: 3\r\n',
      ['X-Mine-Too', '3'],
      'what Connection names stays',
    ],
    [
      'Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\n' +
        'PROXY-Foo: 1\r\nTrailer: X\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n',
      [],
      'hop-by-hop and Proxy-* stay',
    ],
    ['Expect: 100-continue\r\nContent-Length: 7\r\n', ['content-length', '7'], 'framing is ours'],
    ['Connection: TE\r\nTE: gzip, trailers\r\n', ['te', 'trailers'], 'of TE only trailers'],
    ['TE: gzip\r\n', [], 'no other TE'],
    ['X-Forwarded-For: 1.1.1.1\r\nVia: x\r\n', ['X-Forwarded-For', '1.1.1.1', 'Via', 'x'], 'kept'],
  ];
  for (const [lines, forwarded, why] of table) {
    t.strictSame(
      forwardRequestFields(headOf(lines), target, plain),
      ['host', 'a.test', ...forwarded],
      why,
    );
  }
  t.end();
});

t.test('Host leaves out the port of its own scheme, and no other', (t) => {
  const table: [port: number, defaultPort: number, host: string][] = [
    [80, 80, 'a.test'],
    [443, 80, 'a.test:443'],
    [443, 443, 'a.test'],
    [80, 443, 'a.test:80'],
  ];
  for (const [port, defaultPort, host] of table) {
    const fields = forwardRequestFields(headOf(''), { ...target, port }, { ...plain, defaultPort });
    t.strictSame(fields, ['host', host]);
  }
  t.end();
});

t.test('Via and X-Forwarded-For are appended to', (t) => {
  const head = headOf('Via: 1.0 x\r\nX-FORWARDED-FOR: 1.1.1.1\r\nvia: 1.1 y\r\n');
  t.strictSame(
    forwardRequestFields(head, target, { via: true, forwardedFor: '10.0.0.9', defaultPort: 80 }),
    [
      ...['host', 'a.test', 'via', '1.0 x, 1.1 y, 1.1 sallyport'],
      ...['x-forwarded-for', '1.1.1.1, 10.0.0.9'],
    ],
  );
  const old = headOf('', 'GET http://a.test/ HTTP/1.0');
  t.strictSame(
    forwardRequestFields(old, target, { via: true, forwardedFor: null, defaultPort: 80 }),
    [...['host', 'a.test', 'via', '1.0 sallyport']],
  );
  t.end();
});

t.test('a flood of spellings changes no answer', (t) => {
  for (let i = 0; i < 3_000; i++) {
    const name = [...'keep-alive'].map((c, at) => ((i >> at) & 1 ? c.toUpperCase() : c)).join('');
    const forwarded = forwardRequestFields(headOf(`${name}: 1\r\nX-${i}: 2\r\n`), target, plain);
    if (forwarded.length !== 4) t.fail(`${name} passed`);
  }
  t.pass('every spelling of keep-alive stayed');
  t.end();
});

t.test('Host of a target', (t) => {
  t.equal(hostField('a.test' as Host, 80, 80), 'a.test');
  t.equal(hostField('a.test' as Host, 81, 80), 'a.test:81');
  t.equal(hostField('2001:db8::1' as Address, 80, 80), '[2001:db8::1]');
  t.equal(hostField('2001:db8::1' as Address, 81, 80), '[2001:db8::1]:81');
  t.end();
});

const raw = (...texts: string[]) => texts.map((text) => Buffer.from(text, 'latin1'));

t.test('response fields', (t) => {
  const response = raw(
    ...['Content-Type', 'text/\xe9', 'Content-Length', '5', 'Connection', 'close, x-hop'],
    ...['X-Hop', '1', 'Keep-Alive', 't', 'Proxy-Authenticate', 'Basic', 'Set-Cookie', 'a'],
    ...['Set-Cookie', 'b', 'Trailer', 'X-Sum', 'Upgrade', 'h2c'],
  );
  const text = 'Content-Type: text/\xe9\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nTrailer: X-Sum\r\n';
  t.strictSame(forwardResponseFields(response), { text, contentLength: 5, chunked: false });
  t.strictSame(
    forwardResponseFields(response.map((part) => part.toString('latin1'))),
    { text, contentLength: 5, chunked: false },
    'strings too',
  );
  t.strictSame(forwardResponseFields(raw('transfer-encoding', 'Chunked'), '1.1'), {
    text: 'Via: 1.1 sallyport\r\n',
    contentLength: null,
    chunked: true,
  });
  t.strictSame(forwardResponseFields([]), { text: '', contentLength: null, chunked: false });
  for (const bad of [
    raw('Content-Length', '5', 'content-length', '5'),
    raw('Content-Length', '+5'),
    raw('Content-Length', '5', 'Transfer-Encoding', 'chunked'),
    raw('Transfer-Encoding', 'gzip, chunked'),
    raw('Connection', 'content-length'),
    raw('Connection', 'a b'),
  ]) {
    t.throws(() => forwardResponseFields(bad), { code: 'SALLYPORT_UPSTREAM_MALFORMED' });
  }
  t.end();
});

t.test('trailers and lines of our own', (t) => {
  t.equal(forwardTrailers([]), '');
  t.equal(
    forwardTrailers(
      raw(
        ...['X-Sum', '1', 'content-LENGTH', '2', 'Transfer-Encoding', 'chunked', 'Host', 'b'],
        ...['Set-Cookie', 'c', 'Proxy-X', 'd', 'Bad Name', 'e', 'X-Bad', 'f\r\nG: h'],
      ),
    ),
    'X-Sum: 1\r\n',
  );
  t.equal(fieldLines(['A', 'b', 'C', '']), 'A: b\r\nC: \r\n');
  for (const bad of [
    ['A', 'b\r\nC: d'],
    ['A', 'b\n'],
    ['A\r', 'b'],
    ['', 'b'],
    ['A:', 'b'],
    ['A', '\0'],
  ]) {
    t.throws(() => fieldLines(bad), { code: 'SALLYPORT_INTERNAL' });
  }
  t.end();
});

t.test('undici takes the fields and the origin sees them', async (t) => {
  const server = createServer((request, response) => {
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
    });
    request.on('end', () => response.end(JSON.stringify({ raw: request.rawHeaders, length })));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const client = new Client(`http://127.0.0.1:${address.port}`);
  t.teardown(async () => {
    await client.close();
    server.close();
  });
  const head = headOf(
    'Content-Length: 5\r\nExpect: 100-continue\r\nConnection: keep-alive, te, x-h\r\nX-H: 1\r\n' +
      'TE: trailers\r\nUpgrade: h2c\r\nKeep-Alive: 5\r\nX-Obs: \xe9\tb\r\n',
  );
  const reply = await client.request({
    method: 'POST',
    path: '/',
    headers: forwardRequestFields(head, target, plain),
    body: Buffer.from('hello'),
  });
  t.strictSame(await reply.body.json(), {
    raw: [
      ...['host', 'a.test', 'connection', 'keep-alive', 'X-Obs', '\xe9\tb', 'te', 'trailers'],
      ...['content-length', '5'],
    ],
    length: 5,
  });
});
