// Every way in which a server may read a path.
import t from 'tap';
import { HTTP_PATH_BYTES_MAX } from '../../src/base/limits.ts';
import { readingsOf } from '../../src/policy/path.ts';

t.test('a plain path has one reading, without its query', async (t) => {
  for (const path of ['/', '/a', '/a/b.c', '/a~b/@c:1', "/!$&'()*+,=", '/a-_/x..y']) {
    t.strictSame(readingsOf(path), [path]);
    t.strictSame(readingsOf(`${path}?x=/../y%2F`), [path]);
  }
});

t.test('what can be read in several ways has each of them', async (t) => {
  const cases: Record<string, string[]> = {
    '/a%2Fb': ['/a%2Fb', '/a/b'],
    '/a%2fb': ['/a%2Fb', '/a/b'],
    '/%61dmin': ['/admin'],
    '/a%20b': ['/a%20b', '/a b'],
    '/a%5Cb': ['/a%5Cb', '/a/b'],
    '/a//b': ['/a//b', '/a/b'],
    '/a/': ['/a/', '/a'],
    '/a;x=1/b': ['/a;x=1/b', '/a/b'],
    '/a;x%2Fy/b': ['/a;x%2Fy/b', '/a;x/y/b', '/a/y/b', '/a/b'],
    '/a;x%5cy/b': ['/a;x%5Cy/b', '/a;x/y/b', '/a/y/b', '/a/b'],
    '/a;x\\y/b': ['/a;x\\y/b', '/a;x/y/b', '/a/y/b', '/a/b'],
    '/a%2Fb;x/c': ['/a%2Fb;x/c', '/a%2Fb/c', '/a/b/c'],
    '/a%3Bx;y%2Fz/b': ['/a%3Bx;y%2Fz/b', '/a/b'],
    '*': ['/'],
    '/a%3Bx/b': ['/a%3Bx/b', '/a;x/b', '/a/b'],
    '/@s%2fname': ['/@s%2Fname', '/@s/name'],
    '//': ['//', '/'],
    '/.well-known/x': ['/.well-known/x'],
    '/%C3%A4': ['/%C3%A4', '/Ã¤'],
  };
  for (const [path, readings] of Object.entries(cases)) {
    const found = readingsOf(path);
    t.ok(Array.isArray(found), path);
    for (const reading of readings)
      t.ok(found.includes(reading), `${path} as ${reading}: ${found}`);
    t.equal(found[0], readings[0], 'the literal one first');
  }
});

t.test('what has no safe reading has none', async (t) => {
  const cases: [path: string, why: RegExp][] = [
    ['/a/../b', /segment/],
    ['/..', /segment/],
    ['/./a', /segment/],
    ['/%2e%2E/a', /segment/],
    ['/a/%2e', /segment/],
    ['/a%2F..%2Fb', /segment/],
    ['/a%5c..%5cb', /segment/],
    ['/a/..;/b', /segment/],
    ['/a/..;x=1/b', /segment/],
    ['/a/..%3B/b', /segment/],
    ['/a%00', /control/],
    ['/a%0d%0aHost:b', /control/],
    ['/a%7F', /control/],
    ['/a%', /percent/],
    ['/a%2', /percent/],
    ['/a%zz', /percent/],
    [`/${'a'.repeat(HTTP_PATH_BYTES_MAX)}`, /more than/],
  ];
  for (const [path, why] of cases) t.match(readingsOf(path), why, path);
});
