// Request targets: every form, what becomes of it, and a Host that disagrees.
import fc from 'fast-check';
import t from 'tap';
import { type Code, SallyportError } from '../../src/base/errors.ts';
import { createAuthorityCache, parseRequestTarget } from '../../src/proxy/target.ts';

type Parsed = { host: string; port: number; path: string; hostField: string; ingress: string };

function parse(method: string, target: string, host: string | null): Parsed {
  return parseRequestTarget({ method, target, host }, createAuthorityCache());
}

t.test('absolute-form', (t) => {
  const table: [target: string, field: string | null, parsed: [string, number, string, string]][] =
    [
      ['http://a.test/p?q=%2F//..', 'a.test', ['a.test', 80, '/p?q=%2F//..', 'a.test']],
      ['HTTP://A.Test:8080/', 'a.test:8080', ['a.test', 8080, '/', 'a.test:8080']],
      ['http://a.test:80/', 'a.test', ['a.test', 80, '/', 'a.test']],
      ['http://a.test', 'A.TEST:80', ['a.test', 80, '/', 'a.test']],
      ['http://a.test?x', 'a.test', ['a.test', 80, '/?x', 'a.test']],
      ['http://a.test/a@b:c', null, ['a.test', 80, '/a@b:c', 'a.test']],
      [
        'http://[2001:DB8::1]:81/',
        '[2001:db8:0::1]:81',
        ['2001:db8::1', 81, '/', '[2001:db8::1]:81'],
      ],
      ['http://[2001:db8::1]/', '[2001:db8::1]', ['2001:db8::1', 80, '/', '[2001:db8::1]']],
      ['http://203.0.113.9/', '203.0.113.9', ['203.0.113.9', 80, '/', '203.0.113.9']],
    ];
  for (const [target, field, [host, port, path, hostField]] of table) {
    t.strictSame(
      parse('GET', target, field),
      { ingress: 'forward', host, port, path, hostField },
      target,
    );
  }
  t.equal(parse('OPTIONS', 'http://a.test', 'a.test').path, '*');
  t.equal(parse('OPTIONS', 'http://a.test/', 'a.test').path, '/');
  t.end();
});

t.test('authority-form', (t) => {
  for (const field of ['a.test:443', 'A.test:443', 'a.test', null]) {
    t.strictSame(parse('CONNECT', 'a.test:443', field), {
      ingress: 'connect',
      host: 'a.test',
      port: 443,
      path: '',
      hostField: 'a.test',
    });
  }
  t.match(parse('CONNECT', '[::FFFF:1]:65535', null), { port: 65535 });
  t.match(parse('CONNECT', 'A.test.:1', 'a.test:1'), { host: 'a.test', port: 1 });
  t.end();
});

const INVALID = 'SALLYPORT_TARGET_INVALID';
const refusals: [method: string, target: string, code: Code, message?: RegExp][] = [
  ['GET', '/', 'SALLYPORT_NOT_AN_ORIGIN'],
  ['GET', '//a.test/', 'SALLYPORT_NOT_AN_ORIGIN'],
  ['OPTIONS', '*', INVALID, /asterisk/],
  ['GET', '*', INVALID],
  ['GET', 'https://a.test/', INVALID, /CONNECT/],
  ['GET', 'HTTPS://a.test/', INVALID, /CONNECT/],
  ...['ftp://a.test/', 'ws://a.test/', 'http:/a.test/', 'http:a.test', 'a.test:80', 'a.test'].map(
    (target): [string, string, Code] => ['GET', target, INVALID],
  ),
  ['GET', 'http://u:p@a.test/', INVALID, /userinfo/],
  ['GET', 'http://a.test@b.test/', INVALID, /userinfo/],
  ...['http:///', 'http://:80/', 'http://?q', 'http://'].map((target): [string, string, Code] => [
    'GET',
    target,
    INVALID,
  ]),
  ...['', '0', '00080', '080', '65536', '65979', '+80', '-1', '8a', '0x50', '80:80', '1e2'].map(
    (port): [string, string, Code] => ['GET', `http://a.test:${port}/`, INVALID],
  ),
  ...[
    'a..b',
    '-',
    '[a.test]',
    '[[a.test]]',
    '[::1',
    '::1',
    'a%00b',
    'a_b|c',
    '0x7f.1',
    '127.1',
  ].map((host): [string, string, Code] => ['GET', `http://${host}/`, INVALID]),
  ['GET', `http://${'a'.repeat(64)}.test/`, INVALID],
  ['GET', `http://${'a.'.repeat(150)}test/`, INVALID],
  ['GET', `http://${'a'.repeat(400)}/`, INVALID],
  ['GET', 'http://a.test\\@b.test/', INVALID],
  ['GET', 'http://a.test/a\\b', INVALID],
  ['GET', 'http://a.test/#f', INVALID],
  ...[
    'a.test',
    'a.test:',
    ':443',
    'a.test:0',
    'a.test:65536',
    'a.test:443:443',
    'u@a.test:443',
  ].map((target): [string, string, Code] => ['CONNECT', target, INVALID]),
  ...['http://a.test:443', '/a.test:443', 'a.test:443/', '[a.test]:443', '::1:443', '*'].map(
    (target): [string, string, Code] => ['CONNECT', target, INVALID],
  ),
];

t.test('refusals', (t) => {
  for (const [method, target, code, message] of refusals) {
    t.throws(
      () => parse(method, target, null),
      { code, ...(message === undefined ? {} : { message }) },
      `${method} ${target.slice(0, 60)}`,
    );
  }
  t.end();
});

t.test('a Host that disagrees, or is none', (t) => {
  const table: [method: string, target: string, fields: string[]][] = [
    [
      'GET',
      'http://a.test/',
      ['', 'b.test', 'a.test:81', 'x.a.test', 'a.test:', 'u@a.test', 'a,b'],
    ],
    [
      'GET',
      'http://a.test:81/',
      ['a.test', 'a.test:80', 'a.test:081', 'a.test:81/', '[a.test]:81'],
    ],
    ['CONNECT', 'a.test:443', ['', 'b.test:443', 'a.test:80', 'b.test', 'a.test:443, b.test:443']],
  ];
  for (const [method, target, fields] of table) {
    for (const field of fields) {
      t.throws(
        () => parse(method, target, field),
        { code: 'SALLYPORT_REQUEST_MALFORMED' },
        `${target} with Host: ${field}`,
      );
    }
  }
  t.end();
});

t.test('the cache changes no answer and stays bounded', (t) => {
  const cache = createAuthorityCache();
  for (let i = 0; i < 5_000; i++) {
    const host = `h${i}.test`;
    const target = { method: 'GET', target: `http://${host}/`, host };
    const answers = [parseRequestTarget(target, cache), parseRequestTarget(target, cache)];
    if (answers.some((answer) => answer.host !== host)) t.fail(`another answer for ${host}`);
    if (cache.size > 1_024) t.fail('the cache grew');
  }
  t.throws(() =>
    parseRequestTarget({ method: 'GET', target: 'http://h1.test:0/', host: null }, cache),
  );
  t.throws(() =>
    parseRequestTarget({ method: 'GET', target: 'http://h1.test:0/', host: null }, cache),
  );
  t.end();
});

t.test('any text: a target with a whole port, or a SallyportError', (t) => {
  const part = fc.oneof(
    ...['http://', 'a', ':', '@', '/', '[', ']', '.', '::1', '80', '%', '?', '\\', '\0'].map(
      (text) => fc.constant(text),
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 4 }),
  );
  const text = fc.array(part, { maxLength: 10 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(
      fc.constantFrom('GET', 'CONNECT'),
      text,
      fc.option(text),
      (method, target, host) => {
        try {
          const parsed = parse(method, target, host);
          if (!(parsed.port >= 1 && parsed.port <= 65_535)) throw new Error('a port out of range');
          if (!target.endsWith(parsed.path.slice(1))) throw new Error('the path was rewritten');
        } catch (error) {
          if (!(error instanceof SallyportError)) throw error;
        }
      },
    ),
    { numRuns: 3_000 },
  );
  t.pass('nothing else was thrown');
  t.end();
});
