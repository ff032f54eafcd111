// What HTTP rules ask of a request. That src/policy/compile-path.ts and assembly/path.ts read a pattern
// as pathMatches does is shown here, too; test/matcher/agree.test.ts has it for whole policies.
import fc from 'fast-check';
import t from 'tap';
import { WORKERS_MAX } from '../../src/base/limits.ts';
import { Lane } from '../../src/matcher/lane.ts';
import { Publisher } from '../../src/matcher/publish.ts';
import { normalizeHost } from '../../src/policy/host.ts';
import {
  httpMatches,
  methodBit,
  methodBits,
  parseHttpMatch,
  pathMatches,
} from '../../src/policy/http.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { ruleOf } from '../helpers/rules.ts';

t.test('methods and paths have one spelling', async (t) => {
  t.strictSame(parseHttpMatch(['post', ' GET', 'post'], []), {
    methods: ['GET', 'POST'],
    paths: ['/**'],
  });
  t.strictSame(parseHttpMatch(['any'], ['/a/**', '/a/**']), { methods: [], paths: ['/a/**'] });
  for (const path of ['/', '/*', '/**', '/a/**/b', '/v*/x.y', '/@scope/name', '/~a']) {
    t.strictSame(parseHttpMatch(['GET'], [path]).paths, [path]);
  }
});

t.test('every fault is named', async (t) => {
  const faults: [methods: string[], paths: string[], message: RegExp][] = [
    [[], ['/a'], /a path needs a method/],
    [['ANY', 'GET'], [], /ANY stands alone/],
    [['FETCH', 'BREW'], ['a'], /"FETCH" is no method.*"BREW" is no method.*begins with \//],
    [['GET'], ['/a?b'], /no query/],
    [['GET'], ['/a#b'], /no query and no fragment/],
    [['GET'], ['/a%20b'], /no percent-encoding/],
    [['GET'], ['/a b'], /a byte that no path has/],
    [['GET'], ['/ä'], /a byte that no path has/],
    [['GET'], ['/a\n'], /a byte that no path has/],
    [['GET'], ['/a/../b'], /no segment \. or \.\./],
    [['GET'], ['/a/./b'], /no segment/],
    [['GET'], ['/a//b'], /no empty segment/],
    [['GET'], ['/a/'], /no empty segment/],
    [['GET'], ['/a**'], /\*\* is a segment of its own/],
    [['GET'], [`/${'a'.repeat(512)}`], /more than 512 bytes/],
    [['GET'], Array.from({ length: 65 }, (_, i) => `/${i}`), /at most 64/],
  ];
  for (const [methods, paths, message] of faults) {
    t.throws(() => parseHttpMatch(methods, paths), { code: 'SALLYPORT_POLICY_INVALID', message });
  }
});

t.test('methods', async (t) => {
  const reads = parseHttpMatch(['GET', 'HEAD'], []);
  const all = parseHttpMatch(['ANY'], []);
  for (const method of ['GET', 'POST', 'BREW', 'get']) {
    t.equal(httpMatches(reads, { method, path: '/' }), method === 'GET', method);
    t.ok(httpMatches(all, { method, path: '/' }), `ANY is ${method}, too`);
  }
  t.equal(methodBits(reads), methodBit('GET') | methodBit('HEAD'));
});

t.test('paths', async (t) => {
  const cases: [pattern: string, yes: string[], no: string[]][] = [
    ['/**', ['/', '/a', '/a/b', '//'], []],
    ['/', ['/'], ['/a']],
    ['/a', ['/a'], ['/', '/A', '/a/', '/ab', '/a/b']],
    ['/a/**', ['/a', '/a/', '/a/b', '/a/b/c'], ['/ab', '/']],
    ['/*', ['/a', '/abc'], ['/', '/a/b']],
    ['/a/*/c', ['/a/b/c'], ['/a//c', '/a/b/b/c', '/a/c']],
    ['/a/**/c', ['/a/c', '/a/b/c', '/a/b/b/c'], ['/a/bc', '/c']],
    ['/**/info/refs', ['/info/refs', '/o/r.git/info/refs'], ['/o/xinfo/refs']],
    ['/v*/x', ['/v/x', '/v1/x', '/v12/x'], ['/v/1/x', '/u/x']],
    ['/a*b*c', ['/abc', '/axbxc', '/abcc'], ['/ac', '/ab/c']],
    ['/**/a/**/b/**', ['/a/b', '/x/a/y/b/z'], ['/b/a']],
  ];
  for (const [pattern, yes, no] of cases) {
    for (const path of yes) t.ok(pathMatches(pattern, path), `${pattern} ${path}`);
    for (const path of no) t.notOk(pathMatches(pattern, path), `${pattern} ${path}`);
  }
});

const gets = (pattern: string): Rule =>
  ruleOf('allow', 'a.com', { http: parseHttpMatch(['GET'], [pattern]) });

t.test('compiled patterns match the same paths', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);
  const segment = fc.constantFrom('a', 'b', 'ab', '*', '**', 'a*', '*b', 'a*b', '*a*');
  const patterns = fc
    .array(segment, { minLength: 1, maxLength: 5 })
    .map((segments) => `/${segments.join('/')}`);
  const paths = fc
    .array(fc.constantFrom('', 'a', 'b', 'ab', 'aab', 'ba'), { maxLength: 7 })
    .map((segments) => segments.map((segment) => `/${segment}`).join(''));
  let matched = 0;
  await fc.assert(
    fc.asyncProperty(
      patterns,
      fc.array(paths, { minLength: 20, maxLength: 20 }),
      async (pattern, list) => {
        await publisher.publish([gets(pattern)]);
        for (const path of list) {
          const request = { method: 'GET', path };
          const question = {
            scope: 0,
            host: normalizeHost('a.com'),
            port: 443,
            protocol: 'tcp',
            request,
          } as const;
          const wanted = pathMatches(pattern, path);
          if (wanted) matched++;
          t.equal(lane.match(question).action === 'allow', wanted, `${pattern} ${path}`);
        }
      },
    ),
    { numRuns: 300 },
  );
  t.ok(matched > 100, `${matched} of them matched`);
});

t.test('a pattern that could be made to backtrack', async (t) => {
  const publisher = await Publisher.create();
  const lane = new Lane(publisher.memory, publisher.module, WORKERS_MAX);
  const pattern = `/**/${'*a'.repeat(100)}b/**/c`;
  await publisher.publish([gets(pattern)]);
  const request = { method: 'GET', path: `/${'a'.repeat(4_000)}/${'a'.repeat(4_000)}` };
  const started = performance.now();
  t.equal(
    lane.match({ scope: 0, host: normalizeHost('a.com'), port: 443, protocol: 'tcp', request })
      .action,
    'deny',
  );
  t.ok(performance.now() - started < 1_000, 'it ends');
});

t.test('a pattern of many ** takes no longer where explanations are made', async (t) => {
  const started = performance.now();
  const path = '/a'.repeat(4_000);
  t.notOk(pathMatches(`${'/**/a'.repeat(100)}/b`, path));
  t.ok(pathMatches(`${'/**/**/a'.repeat(60)}/**`, path));
  t.ok(performance.now() - started < 1_000, 'it ends');
});

/** What the grammar says, word for word: a step takes one segment, or ** any number of them. */
function saysMatch([step, ...steps]: readonly string[], segments: readonly string[]): boolean {
  if (step === undefined) return segments.length === 0;
  const [segment, ...others] = segments;
  if (step === '**' && saysMatch(steps, segments)) return true;
  if (segment === undefined) return false;
  if (step === '**') return saysMatch([step, ...steps], others);
  const letters = step.split('*').map((text) => text.replace(/[.+]/g, '\\$&'));
  const said = step === '*' ? /^.+$/ : new RegExp(`^${letters.join('.*')}$`);
  return said.test(segment) && saysMatch(steps, others);
}

t.test('a path matches as the grammar says', async (t) => {
  const steps = fc.array(fc.constantFrom('a', 'b', '*', '**', '**', 'a*', '*b', 'a.'), {
    minLength: 1,
    maxLength: 6,
  });
  const segments = fc.array(fc.constantFrom('', 'a', 'b', 'ab', 'a.'), { maxLength: 8 });
  fc.assert(
    fc.property(steps, segments, (steps, segments) => {
      const path = segments.map((one) => `/${one}`).join('');
      return pathMatches(`/${steps.join('/')}`, path) === saysMatch(steps, segments);
    }),
    { numRuns: 5_000 },
  );
  t.pass();
});
