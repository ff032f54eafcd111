// Heads of HTTP/1.1: what is refused and under which code, that no way of cutting the input changes
// the result, and that valid messages mean the same to node:http.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { type Code, SallyportError } from '../../src/base/errors.ts';
import { FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX } from '../../src/base/limits.ts';
import { parseRequestHead, parseResponseHead, type RequestHead } from '../../src/proxy/head.ts';

const GET = 'GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n';
const POST = 'POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n';
const MALFORMED = 'SALLYPORT_REQUEST_MALFORMED';

function request(text: string): RequestHead | null {
  const bytes = Buffer.from(text, 'latin1');
  return parseRequestHead(bytes, 0, bytes.length);
}

function complete(text: string): RequestHead {
  const head = request(text);
  if (head === null) throw new Error(`incomplete: ${text}`);
  return head;
}

t.test('a usual head gives its facts', (t) => {
  const text =
    'POST http://a.test:81/p?q HTTP/1.1\r\nhOsT: \t a.test:81 \t\r\nContent-Length: 12\r\n' +
    'Connection: Keep-Alive, TE ,, x-mine\r\nTE: gzip;q=0.1, trailers\r\nExpect: 100-Continue\r\n' +
    'Proxy-Authorization: Basic eA==\r\nX-Empty:\r\nX-Obs: \xe9\t\xff\r\n\r\n';
  t.strictSame(complete(`${text}BODY`), {
    method: 'POST',
    target: 'http://a.test:81/p?q',
    version: 11,
    fields: [
      ...['hOsT', 'a.test:81', 'Content-Length', '12', 'Connection', 'Keep-Alive, TE ,, x-mine'],
      ...['TE', 'gzip;q=0.1, trailers', 'Expect', '100-Continue'],
      ...['Proxy-Authorization', 'Basic eA==', 'X-Empty', '', 'X-Obs', '\xe9\t\xff'],
    ],
    headBytes: text.length,
    host: 'a.test:81',
    contentLength: 12,
    chunked: false,
    connectionTokens: ['keep-alive', 'te', 'x-mine'],
    keepAlive: true,
    upgrade: null,
    expectContinue: true,
    proxyAuthorization: 'Basic eA==',
    teTrailers: true,
  });
  t.end();
});

t.test('facts of framing and connection', (t) => {
  t.match(complete(`${POST}Transfer-Encoding: CHUNKED\r\n\r\n`), {
    chunked: true,
    contentLength: null,
  });
  t.match(complete(`${GET}Connection: close, keep-alive\r\n\r\n`), { keepAlive: false });
  t.match(complete('GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'), {
    keepAlive: false,
    host: null,
    version: 10,
  });
  t.match(complete(`${GET}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`), {
    upgrade: 'websocket',
  });
  t.match(complete(`${GET}Upgrade: websocket\r\n\r\n`), { upgrade: null }, 'Connection is silent');
  for (const [offered, upgrade] of [
    ['h2c', null],
    ['H2C-14,h2c', null],
    ['HTTP/2.0', null],
    ['TLS/1.2, HTTP/1.1', null],
    ['', null],
    ['h2c , websocket', 'websocket'],
    ['SPDY/3.1, tcp', 'SPDY/3.1, tcp'],
  ] as const) {
    const fields = `Connection: upgrade\r\nUpgrade: ${offered}\r\n`;
    t.match(complete(`${GET}${fields}\r\n`), { upgrade }, offered);
  }
  t.match(complete(`${GET}Expect: 100-continue\r\n\r\n`), { expectContinue: false }, 'no content');
  t.match(complete(`\r\n${GET}\r\n`), { headBytes: GET.length + 4 }, 'one empty line before');
  t.match(complete(`${POST}Content-Length: 9007199254740991\r\n\r\n`), {
    contentLength: Number.MAX_SAFE_INTEGER,
  });
  t.end();
});

const refusals: [text: string, code: Code, why: string][] = [
  // Request line.
  ['\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'two empty lines before'],
  ['\nGET / HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a bare LF before'],
  [' GET / HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a space before'],
  ['GET  / HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'two spaces'],
  ['GET /  HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'two spaces'],
  ['GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a tab'],
  ['GET / HTTP/1.1 \r\nHost: a\r\n\r\n', MALFORMED, 'a space at the end'],
  ['GET / HTTP/1.1\nHost: a\r\n\r\n', MALFORMED, 'a bare LF at the end'],
  ['GET / HTTP/1.1\rHost: a\r\n\r\n', MALFORMED, 'a bare CR at the end'],
  ['GET /\r\n\r\n', MALFORMED, 'HTTP/0.9'],
  ['GET HTTP/1.1\r\n\r\n', MALFORMED, 'no target'],
  ['G(T / HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a method that is no token'],
  ['GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a fragment'],
  ['GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a backslash'],
  ['GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'NUL in the target'],
  ['GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'DEL in the target'],
  ['GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a raw byte beyond ASCII'],
  ['GET / http/1.1\r\nHost: a\r\n\r\n', MALFORMED, 'a version in lower case'],
  ['GET / HTTP/1.10\r\nHost: a\r\n\r\n', MALFORMED, 'a version of two digits'],
  ['GET / HTTP/+.1\r\nHost: a\r\n\r\n', MALFORMED, 'a version without a digit'],
  ['GET / HTTP/1.2\r\nHost: a\r\n\r\n', 'SALLYPORT_VERSION_UNSUPPORTED', '1.2'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'SALLYPORT_VERSION_UNSUPPORTED', 'the h2 preface'],
  ['\x16\x03\x01', MALFORMED, 'a TLS ClientHello'],
  // Field lines.
  [`${GET}A: b\n\r\n`, MALFORMED, 'a bare LF'],
  [`${GET}A: b\n\n`, MALFORMED, 'lines ended by LF alone'],
  [`${GET}A: b\rC: d\r\n\r\n`, MALFORMED, 'a bare CR'],
  [`${GET}A: b\r\n c\r\n\r\n`, MALFORMED, 'obs-fold'],
  [`${GET}A: b\r\n\tc\r\n\r\n`, MALFORMED, 'obs-fold with a tab'],
  [`${GET} A: b\r\n\r\n`, MALFORMED, 'a space before a name'],
  [`${GET}A : b\r\n\r\n`, MALFORMED, 'a space before the colon'],
  [`${GET}A\t: b\r\n\r\n`, MALFORMED, 'a tab before the colon'],
  [`${GET}A B: c\r\n\r\n`, MALFORMED, 'a space in a name'],
  [`${GET}: b\r\n\r\n`, MALFORMED, 'no name'],
  [`${GET}A\r\n\r\n`, MALFORMED, 'no colon'],
  [`${GET}A(: b\r\n\r\n`, MALFORMED, 'a name that is no token'],
  [`${GET}\xc3\xa9: b\r\n\r\n`, MALFORMED, 'a name beyond ASCII'],
  [`${GET}A\0: b\r\n\r\n`, MALFORMED, 'NUL in a name'],
  [`${GET}A: b\0c\r\n\r\n`, MALFORMED, 'NUL in a value'],
  [`${GET}A: b\x7fc\r\n\r\n`, MALFORMED, 'DEL in a value'],
  [`${GET}A: b\x0bc\r\n\r\n`, MALFORMED, 'VT in a value'],
  // Framing.
  [`${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`, MALFORMED, 'CL.TE'],
  [`${POST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n`, MALFORMED, 'TE.CL'],
  [`${POST}Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n`, MALFORMED, 'TE gzip and CL'],
  [`${POST}Content-Length: 5\r\ncontent-LENGTH: 5\r\n\r\n`, MALFORMED, 'two equal lengths'],
  [`${POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\n`, MALFORMED, 'two lengths'],
  ...['5, 5', '5,', '+5', '-5', '0x5', '5 5', '5.0', '1e3', '', '5;', '٥', '9007199254740992'].map(
    (value): [string, Code, string] => [
      `${POST}Content-Length: ${value}\r\n\r\n`,
      MALFORMED,
      `length ${value}`,
    ],
  ),
  [`${POST}Transfer-Encoding: chunked, chunked\r\n\r\n`, MALFORMED, 'chunked twice'],
  [`${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`, MALFORMED, 'twice'],
  [`${POST}Transfer-Encoding: chunked, gzip\r\n\r\n`, MALFORMED, 'chunked not last'],
  [`${POST}Transfer-Encoding:\r\n\r\n`, MALFORMED, 'no coding'],
  [`${POST}Transfer-Encoding: \x0bchunked\r\n\r\n`, MALFORMED, 'VT before chunked'],
  ...['gzip', 'gzip, chunked', 'identity', 'xchunked', '"chunked"', 'chunked;a=b', 'chunked,'].map(
    (value): [string, Code, string] => [
      `${POST}Transfer-Encoding: ${value}\r\n\r\n`,
      'SALLYPORT_CODING_UNKNOWN',
      `coding ${value}`,
    ],
  ),
  [
    'POST http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n',
    MALFORMED,
    'Transfer-Encoding in HTTP/1.0',
  ],
  ['CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\n', MALFORMED, 'CONNECT, content'],
  [
    'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n',
    MALFORMED,
    'CONNECT with chunks',
  ],
  // Fields that may stand once, or not at all.
  ['GET http://a/ HTTP/1.1\r\n\r\n', MALFORMED, 'no Host'],
  [`${GET}HOST: a.test\r\n\r\n`, MALFORMED, 'two Host fields'],
  [`${GET}Proxy-Authorization: a\r\nProxy-Authorization: a\r\n\r\n`, MALFORMED, 'two credentials'],
  [`${GET}Connection: close, host\r\n\r\n`, MALFORMED, 'Connection names Host'],
  [`${GET}Connection: Content-Length\r\n\r\n`, MALFORMED, 'Connection names Content-Length'],
  [`${GET}Connection: authorization\r\n\r\n`, MALFORMED, 'Connection names Authorization'],
  [`${GET}Connection: a b\r\n\r\n`, MALFORMED, 'Connection with what is no token'],
  [`${POST}Expect: 200-ok\r\n\r\n`, 'SALLYPORT_EXPECTATION_FAILED', 'another expectation'],
  // Bounds.
  [
    `GET /${'a'.repeat(TARGET_BYTES_MAX)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    'SALLYPORT_URI_TOO_LONG',
    'a target over its bound',
  ],
  [`GET /${'a'.repeat(HEAD_BYTES_MAX)}`, 'SALLYPORT_URI_TOO_LONG', 'a target without end'],
  [`${GET}A: ${'b'.repeat(HEAD_BYTES_MAX)}`, 'SALLYPORT_HEAD_TOO_LARGE', 'a value without end'],
  [`${GET}${'A: b\r\n'.repeat(FIELDS_MAX)}\r\n`, 'SALLYPORT_HEAD_TOO_LARGE', 'too many fields'],
];

t.test('refusals, whole and cut anywhere', (t) => {
  for (const [text, code, why] of refusals) {
    t.throws(() => request(text), { name: 'SallyportError', code }, why);
    if (text.length > 4_096) continue;
    // A refusal may come early, but never as acceptance of a part, nor under another code.
    t.equal(feed(text, 1, parseRequestHead), code, `${why}, byte by byte`);
  }
  t.end();
});

type Parse<Result> = (b: Buffer, start: number, end: number, scanned?: number) => Result | null;

/** Offers a growing view over a buffer whose rest holds hostile bytes; answers a head or a code. */
function feed<Result>(text: string, step: number, parse: Parse<Result>): Result | Code | null {
  const bytes = Buffer.from(`###${text}${'\r\n\r\n'.repeat(4)}`, 'latin1');
  let scanned = 3;
  try {
    for (let end = 3 + step; end - step < 3 + text.length; end += step) {
      const head = parse(bytes, 3, Math.min(end, 3 + text.length), scanned);
      if (head !== null) return head;
      scanned = Math.min(end, 3 + text.length);
    }
  } catch (error) {
    if (error instanceof SallyportError) return error.code;
    throw error;
  }
  return null;
}

t.test('errors name the field and never its value', (t) => {
  t.throws(() => request(`${GET}X-Key: s3cret\0\r\n\r\n`), { message: /field X-Key$/ });
  for (const [text] of refusals) {
    const marked = text.replaceAll('b\0c', 's3cret\0').replaceAll('200-ok', 's3cret');
    try {
      request(marked);
      t.fail('refused');
    } catch (error) {
      t.notMatch(String(error), 's3cret');
    }
  }
  t.end();
});

const valid = [
  `${GET}\r\n`,
  `\r\n${GET}Accept: */*\r\n\r\n`,
  `${POST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n`,
  'CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nProxy-Authorization: Basic eA==\r\n\r\n',
  'GET http://a.test/x HTTP/1.0\r\n\r\n',
];

t.test('every split point gives the same head, with and without what follows', (t) => {
  for (const text of valid) {
    const whole = complete(text);
    t.equal(whole.headBytes, text.length);
    for (let step = 1; step <= text.length; step++) {
      t.strictSame(feed(text, step, parseRequestHead), whole);
      const bytes = Buffer.from(text, 'latin1');
      t.strictSame(parseRequestHead(bytes, 0, step, 0), step < text.length ? null : whole);
    }
    t.strictSame(complete(`${text}GET / HTTP/1.1\r\n\r\n`), whole, 'pipelined bytes stay');
  }
  t.end();
});

t.test('the head bound is exact', (t) => {
  const room = HEAD_BYTES_MAX - GET.length - 'A: \r\n\r\n'.length;
  t.ok(request(`${GET}A: ${'b'.repeat(room)}\r\n\r\n`));
  t.throws(() => request(`${GET}A: ${'b'.repeat(room + 1)}\r\n\r\n`), {
    code: 'SALLYPORT_HEAD_TOO_LARGE',
  });
  t.ok(request(`${GET}${'A: b\r\n'.repeat(FIELDS_MAX - 1)}\r\n`), 'Host counts too');
  t.end();
});

t.test('response heads', (t) => {
  const read = (text: string) => {
    const bytes = Buffer.from(text, 'latin1');
    return parseResponseHead(bytes, 0, bytes.length);
  };
  const text =
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  const head = read(`${text}\x81\x00`);
  t.match(head, { status: 101, reason: 'Switching Protocols', headBytes: text.length });
  t.match(head, { upgrade: 'websocket', connectionTokens: ['upgrade'], keepAlive: true });
  for (let step = 1; step <= text.length; step++) {
    t.strictSame(feed(text, step, parseResponseHead), head);
  }
  t.match(read('HTTP/1.0 200\r\n\r\n'), { status: 200, reason: '', keepAlive: false });
  t.match(read('HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n'), { reason: '', contentLength: 3 });
  const bad = [
    ...['HTTP/1.1 099 x\r\n\r\n', 'HTTP/1.1 600 x\r\n\r\n', 'HTTP/1.1 20 x\r\n\r\n'],
    ...['HTTP/1.1  200 x\r\n\r\n', 'HTTP/1.1 200x\r\n\r\n', 'HTTP/1.1 200 a\0\r\n\r\n'],
    ...[
      'HTTP/2.0 200 x\r\n\r\n',
      'ICY 200 OK\r\n\r\n',
      '\r\nHTTP/1.1 200 x\r\n\r\n',
      'SSH-2.0-x\n',
    ],
    'HTTP/1.1 200 x\nA: b\r\n\r\n',
    'HTTP/1.1 200 x\r\nA: b\r\n c\r\n\r\n',
    'HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n',
    'HTTP/1.1 200 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 200 x\r\nTransfer-Encoding: gzip\r\n\r\n',
    `HTTP/1.1 200 x\r\n${'A: b\r\n'.repeat(FIELDS_MAX + 1)}\r\n`,
    `HTTP/1.1 200 x\r\nA: ${'b'.repeat(HEAD_BYTES_MAX)}`,
  ];
  for (const one of bad) {
    t.throws(() => read(one), { code: 'SALLYPORT_UPSTREAM_MALFORMED' }, one.slice(0, 40));
  }
  t.end();
});

const piece = fc.oneof(
  ...['GET', ' ', 'http://a/', 'HTTP/1.1', '\r\n', '\r', '\n', ':', 'Host', 'a', '\t', '\0'].map(
    (text) => fc.constant(text),
  ),
  ...['Content-Length: 1\r\n', 'Transfer-Encoding: chunked\r\n', 'Connection: ', GET].map((text) =>
    fc.constant(text),
  ),
  fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((unit) => String.fromCharCode(unit)) }),
);

/** Whole and cut in steps, the same: a head within the text, a refusal, or a wait for more. */
function checkCuts(text: string, step: number, parse: Parse<{ readonly headBytes: number }>): void {
  const whole = feed(text, Math.max(1, text.length), parse);
  const cut = feed(text, step, parse);
  const kind = (seen: typeof whole) =>
    seen === null ? 'wait' : typeof seen === 'string' ? 'refused' : JSON.stringify(seen);
  if (kind(whole) !== kind(cut)) throw new Error(`${kind(whole)} whole, ${kind(cut)} in pieces`);
  if (whole !== null && typeof whole === 'object' && whole.headBytes > text.length) {
    throw new Error('consumed past the end');
  }
}

t.test('any bytes give a head within them, null or a SallyportError', (t) => {
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 24 }),
      fc.integer({ min: 1, max: 9 }),
      (parts, step) => {
        checkCuts(parts.join(''), step, parseRequestHead);
        checkCuts(parts.join(''), step, parseResponseHead);
      },
    ),
    { numRuns: 3_000 },
  );
  t.pass('no other error, no byte past the end, no difference between cuts');
  t.end();
});

/** What node:http makes of the same bytes. */
function throughNode(text: string): Promise<{ method: string; url: string; raw: string[] }> {
  const { promise, resolve, reject } = Promise.withResolvers<{
    method: string;
    url: string;
    raw: string[];
  }>();
  const server = createServer((seen, response) => {
    resolve({ method: seen.method ?? '', url: seen.url ?? '', raw: seen.rawHeaders });
    response.end();
    server.close();
    server.closeAllConnections();
  });
  server.on('clientError', (error) => {
    reject(error);
    server.close();
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (address === null || typeof address === 'string') return;
    const socket = connect(address.port, '127.0.0.1', () => socket.write(text, 'latin1'));
    socket.on('error', () => {});
  });
  return promise;
}

t.test('valid heads mean the same to node:http', async (t) => {
  const token = fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/);
  const inner = fc.stringMatching(
    /^[\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff\t]{0,20}[\x21-\x7e])?$/,
  );
  const fields = fc.array(
    fc.tuple(
      token.map((name) => `X-${name}`),
      inner,
      fc.stringMatching(/^[ \t]{0,3}$/),
    ),
    { maxLength: 8 },
  );
  const path = fc.stringMatching(/^[A-Za-z0-9%._~!$&'()*+,;=:@/?-]{0,30}$/);
  await fc.assert(
    fc.asyncProperty(fields, path, async (lines, rest) => {
      const text = `${GET.replace('a.test/', () => `a.test/${rest}`)}${lines
        .map(([name, value, space]) => `${name}:${space}${value}${space}\r\n`)
        .join('')}\r\n`;
      const head = complete(text);
      const node = await throughNode(text);
      t.strictSame(
        { method: head.method, url: head.target, raw: head.fields },
        { method: node.method, url: node.url, raw: node.raw },
      );
    }),
    { numRuns: 60 },
  );
});
