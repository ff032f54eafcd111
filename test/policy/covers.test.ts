// A yes is a proof: whatever the inner matches, the outer does. Covers src/policy/covers-path.ts too.
import fc from 'fast-check';
import t from 'tap';
import { covers, ruleCovers } from '../../src/policy/covers.ts';
import { pathCovers } from '../../src/policy/covers-path.ts';
import { parseHttpMatch, pathMatches } from '../../src/policy/http.ts';
import { resourceMatches } from '../../src/policy/reference.ts';
import { parseResources, type Resource } from '../../src/policy/resource.ts';
import { addresses, elements, hosts, paths } from '../helpers/arbitraries.ts';

function resource(text: string): Resource {
  const [one] = parseResources(text);
  if (one === undefined) throw new Error(`no resource: ${text}`);
  return one;
}

const PORTS = [80, 443, 444, 65_535];

t.test('a proof holds for every name and address that is tried', async (t) => {
  let proven = 0;
  const tried = fc.array(fc.oneof(hosts, addresses), { minLength: 40, maxLength: 40 });
  fc.assert(
    fc.property(elements, elements, tried, (one, other, list) => {
      const [outer, inner] = [resource(one), resource(other)];
      if (!covers(outer, inner)) return true;
      if (one !== other) proven++;
      return list.every((host) =>
        PORTS.every(
          (port) => resourceMatches(outer, host, port) || !resourceMatches(inner, host, port),
        ),
      );
    }),
    { numRuns: 8_000 },
  );
  t.ok(proven > 150, `${proven} were proven`);
});

t.test('a proof for paths holds for every path that is tried', async (t) => {
  const PATTERNS = [
    '/**',
    '/',
    '/a',
    '/a/**',
    '/a/*',
    '/*/b',
    '/**/b',
    '/a*b',
    '/*',
    '/**/a/*b/**',
  ];
  const more = [
    ...PATTERNS,
    '/a/a*',
    '/a/*a',
    '/**/*',
    '/**/**',
    '/*/**',
    '/a/**/b',
    '/aa*b',
    '/a*a*b',
  ];
  let proven = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...more),
      fc.constantFrom(...more),
      fc.array(paths, { minLength: 30, maxLength: 30 }),
      (outer, inner, list) => {
        if (!pathCovers(outer, inner)) return true;
        if (outer !== inner) proven++;
        return list.every((path) => pathMatches(outer, path) || !pathMatches(inner, path));
      },
    ),
    { numRuns: 4_000 },
  );
  t.ok(proven > 300, `${proven} were proven`);
});

t.test('what is plain to see is proven, and what is not so is not', async (t) => {
  const yes: [outer: string, inner: string][] = [
    ['**', '10.0.0.0/8'],
    ['**:443', 'a.com:443'],
    ['a.com', 'a.com:443'],
    ['*.a.com', 'x.a.com'],
    ['**.a.com', '*.a.com'],
    ['**.a.com', '**.b.a.com:80'],
    ['**.com', 'a.b.c.com'],
    ['c*.a.com', 'cd*n.a.com'],
    ['[a-f]*.a.com', '[bd]x.a.com'],
    ['*a*.com', 'a?.com'],
    ['*.a.com', '?*.a.com'],
    ['10.0.0.0/8', '10.1.2.3:22'],
    ['2001:db8::/32', '[2001:db8::1]:443'],
  ];
  for (const [outer, inner] of yes) {
    t.ok(covers(resource(outer), resource(inner)), `${outer} covers ${inner}`);
  }
  const no: [outer: string, inner: string][] = [
    ['**:443', 'a.com'],
    ['a.com:443', 'a.com'],
    ['*.a.com', 'a.com'],
    ['*.a.com', '**.a.com'],
    ['*.a.com', 'x.y.a.com'],
    ['**.a.com', 'a.com'],
    ['**.b.a.com', '**.a.com'],
    ['*.*.com', '**.com'],
    ['cd*n.a.com', 'c*.a.com'],
    ['a?.com', '*a*.com'],
    ['10.0.0.0/8', 'a.com'],
    ['**.com', '**'],
    ['::/0', '10.0.0.1'],
  ];
  for (const [outer, inner] of no) {
    t.notOk(covers(resource(outer), resource(inner)), `${outer} does not cover ${inner}`);
  }
  t.ok(pathCovers('/**/b', '/a/**/b'));
  t.ok(pathCovers('/a*', '/ab*c'));
  t.notOk(pathCovers('/*', '/'), 'the path / has one segment, and it is empty');
  t.notOk(pathCovers('/a/*', '/a/**'));
});

t.test('hostile globs end, unproven', async (t) => {
  const outer = `${'*a'.repeat(15)}${'?'.repeat(25)}.com`;
  const inner = `${'*[ab]'.repeat(15)}${'?'.repeat(24)}.com`;
  t.notOk(covers(resource(outer), resource(inner)));
});

t.test('rules: scope, protocol, requests, and what has to be named', async (t) => {
  const rule = { decision: 'allow', scope: 0, protocols: ['tcp'] } as const;
  const all = resource('**');
  const host = resource('a.com');
  const http = (
    methods: string[],
    ...list: string[]
  ): { http: ReturnType<typeof parseHttpMatch> } => ({
    http: parseHttpMatch(methods, list),
  });
  t.ok(ruleCovers(rule, all, { ...rule, scope: 4 }, host));
  t.notOk(ruleCovers({ ...rule, scope: 4 }, all, rule, host));
  t.notOk(ruleCovers(rule, all, { ...rule, protocols: ['tcp', 'udp'] }, host));
  t.ok(ruleCovers(rule, all, { ...rule, ...http(['GET'], '/a') }, host));
  t.notOk(ruleCovers({ ...rule, ...http(['GET'], '/**') }, all, rule, host));
  const read = { ...rule, ...http(['GET', 'HEAD'], '/a/**', '/b') };
  t.ok(ruleCovers(read, all, { ...rule, ...http(['HEAD'], '/b', '/a/x/*') }, host));
  t.notOk(ruleCovers(read, all, { ...rule, ...http(['HEAD'], '/b', '/c') }, host));
  t.notOk(ruleCovers(read, all, { ...rule, ...http(['ANY'], '/b') }, host));
  for (const named of ['10.0.0.1', '203.0.0.0/24', 'localhost:80']) {
    t.notOk(ruleCovers(rule, all, rule, resource(named)), `** opens no ${named}`);
    t.ok(ruleCovers({ ...rule, decision: 'deny' }, all, rule, resource(named)));
  }
  t.ok(ruleCovers(rule, all, rule, resource('1.1.1.1')));
  t.notOk(ruleCovers(rule, resource('l*:80'), rule, resource('localhost:80')));
  t.ok(ruleCovers(rule, resource('10.0.0.0/8'), rule, resource('10.0.0.1')));
});
