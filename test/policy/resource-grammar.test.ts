// The whole grammar of src/policy/resource.ts: each form, the way each near miss is refused, and what
// holds for all of them.
import fc from 'fast-check';
import t from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { RULE_RESOURCES_MAX } from '../../src/base/limits.ts';
import {
  checkForDecision,
  formatHostPort,
  parseResources,
  type Resource,
  splitPort,
} from '../../src/policy/resource.ts';
import { elements } from '../helpers/arbitraries.ts';

function parseResource(element: string): Resource {
  const [resource, ...more] = parseResources(element);
  if (resource === undefined || more.length > 0) throw new Error(`${element} is not one resource`);
  return resource;
}

t.test('each form', async (t) => {
  const host = { kind: 'host', prefix: 'none', port: 0 } as const;
  const forms: [element: string, resource: object][] = [
    ['example.com', { ...host, labels: ['example', 'com'], text: 'example.com' }],
    ['Example.com.:443', { ...host, port: 443, text: 'example.com:443' }],
    ['*.example.com', { ...host, prefix: 'one', labels: ['example', 'com'] }],
    ['**.example.com:80', { ...host, prefix: 'many', port: 80, text: '**.example.com:80' }],
    ['**', { kind: 'any', port: 0, text: '**' }],
    ['**:443', { kind: 'any', port: 443, text: '**:443' }],
    ['CRL*.Example.com', { ...host, labels: ['crl*', 'example', 'com'] }],
    ['api[!1A-C].x', { ...host, labels: ['api[!1a-c]', 'x'] }],
    ['a.*.x', { ...host, labels: ['a', '*', 'x'] }],
    ['*.*.x', { ...host, prefix: 'one', labels: ['*', 'x'] }],
    ['[ab].x[cd]', { ...host, labels: ['[ab]', 'x[cd]'] }],
    ['[ab].x[cd]:80', { ...host, labels: ['[ab]', 'x[cd]'], port: 80 }],
    ['c*.bücher.example', { ...host, labels: ['c*', 'xn--bcher-kva', 'example'] }],
    ['**.bücher.example', { ...host, prefix: 'many', text: '**.xn--bcher-kva.example' }],
    ['c*.example.', { ...host, labels: ['c*', 'example'] }],
    ['10.1.2.3', { kind: 'cidr', prefixLength: 32, port: 0, text: '10.1.2.3' }],
    ['10.1.2.3:22', { kind: 'cidr', prefixLength: 32, port: 22, text: '10.1.2.3:22' }],
    ['10.0.0.0/8', { kind: 'cidr', prefixLength: 8, port: 0, text: '10.0.0.0/8' }],
    ['[2001:DB8:0::1]:443', { kind: 'cidr', prefixLength: 128, text: '[2001:db8::1]:443' }],
    ['2001:DB8::/32', { kind: 'cidr', prefixLength: 32, text: '2001:db8::/32' }],
    ['2001:db8::1/128', { kind: 'cidr', prefixLength: 128, text: '2001:db8::1/128' }],
    ['[::ffff:10.0.0.1]:80', { kind: 'cidr', prefixLength: 32, text: '10.0.0.1:80' }],
    ['::ffff:10.0.0.0/104', { kind: 'cidr', prefixLength: 8, text: '10.0.0.0/8' }],
    ['localhost:80', { ...host, labels: ['localhost'], port: 80 }],
    ['Host.Docker.Internal:80', { ...host, port: 80, text: 'localhost:80' }],
    ['*.host.docker.internal', { ...host, prefix: 'one', text: '*.host.docker.internal' }],
  ];
  for (const [element, resource] of forms) t.match(parseResource(element), resource, element);
});

t.test('near misses say what is right', async (t) => {
  const misses: [element: string, words: RegExp][] = [
    ['*:443', /write \*\*:443 for/],
    ['*.', /empty/],
    ['**.', /empty/],
    ['***', /first/],
    ['**example.com', /first/],
    ['a**.example.com', /first/],
    ['**.**.example.com', /first/],
    ['*.**.example.com', /first/],
    ['http:example.com', /port/],
    ['//example.com', /host alone/],
    ['example.com/path', /host alone/],
    ['example.com:443/path', /host alone/],
    ['[2001:db8::1]', /\[2001:db8::1\]:PORT or 2001:db8::1\/128/],
    ['::', /\[::\]:PORT or ::\/128/],
    ['2001:db8::1:443:', /brackets|IPv6/],
    ['[2001:db8::]/32', /2001:db8::\/32/],
    ['[2001:db8::/32]:443', /no port/],
    ['[10.0.0.1]:80', /IPv6/],
    ['[example.com]:80', /IPv6/],
    ['[fe80::1%eth0]:80', /IPv6/],
    ['10.0.0.0/8:22', /no port/],
    ['10.0.0.0/8/8', /0 to 32/],
    ['10.0.0.*', /10\.0\.0\.0\/8/],
    ['10.*', /10\.0\.0\.0\/8/],
    ['*.168.0.1', /10\.0\.0\.0\/8/],
    ['192.168.[0-9].1', /10\.0\.0\.0\/8/],
    ['10.0.0.0-10.0.0.9', /address/],
    ['127.1', /address/],
    ['2130706433', /address/],
    ['example.com:80,443', /address/],
    ['example.com:http', /65535/],
    ['example.com:', /65535/],
    [':443', /HOST:PORT/],
    ['443', /address/],
    ['example.com:1e3', /65535/],
    ['example.com:٤٤٣', /65535/],
    ['api[.example.com', /\]/],
    ['api].example.com', /letter/],
    ['api[].example.com', /\]/],
    ['api[!].example.com', /\]/],
    ['api[z-a].example.com', /backwards/],
    ['api[Z-a].example.com', /backwards/],
    ['api[a.b].example.com', /\]/],
    ['ap!i.example.com', /letter/],
    ['c*ü.example.com', /letter/],
    ['a_*.example.com', /letter/],
    [`${'a'.repeat(63)}b*.example.com`, /63 bytes/],
    ['exa mple.com', /letters/],
    ['example.com\0', /letters/],
    ['a'.repeat(1_000), /longer/],
    [`c*.${'a.'.repeat(130)}com`, /longer/],
  ];
  for (const [element, message] of misses) {
    t.throws(
      () => parseResources(element),
      { code: 'SALLYPORT_POLICY_INVALID', message },
      JSON.stringify(element.slice(0, 50)),
    );
  }
});

t.test('a list is taken whole or refused whole', async (t) => {
  t.strictSame(
    parseResources(' b.test , a.test,B.test. ,**:80 ').map(({ text }) => text),
    ['b.test', 'a.test', '**:80'],
    'in the order given, each once',
  );
  t.throws(() => parseResources('a.test,,b.test'), { message: /^element 2 "": it is empty/ });
  t.throws(() => parseResources('a.test,'), { message: /^element 2 "": it is empty/ });
  t.throws(() => parseResources('*,a.test,10.0.0.1/8'), {
    message: /^element 1 "\*": .*; element 3 "10\.0\.0\.1\/8": .*write 10\.0\.0\.0\/8/,
  });
  const many = Array.from({ length: RULE_RESOURCES_MAX + 1 }, (_, i) => `h${i}.test`);
  t.equal(parseResources(many.slice(1).join(',')).length, RULE_RESOURCES_MAX);
  t.throws(() => parseResources(many.join(',')), { message: /at most 10000/ });
});

t.test('hostile patterns are refused in no time', async (t) => {
  const started = process.hrtime.bigint();
  for (const element of [
    `x[${'a-'.repeat(120)}.com`,
    `x[${'a-'.repeat(60)}*].com`,
    `${'a*'.repeat(120)}_.com`,
    `${'[a]'.repeat(80)}_.com`,
    `[${'['.repeat(300)}`,
    `${'**.'.repeat(150)}`,
    `${':'.repeat(500)}`,
    `${'1.'.repeat(250)}*`,
  ]) {
    t.throws(() => parseResource(element), { code: 'SALLYPORT_POLICY_INVALID' });
  }
  t.ok(process.hrtime.bigint() - started < 1_000_000_000n, 'no backtracking');
});

t.test('what may not be allowed by any spelling', async (t) => {
  const closed = ['0.0.0.0/0', '::/0', '::ffff:0:0/96', '0.0.0.0', '0.0.0.0:80', '[::]:80'];
  const loopback = [
    '::/128',
    '[::ffff:0.0.0.0]:80',
    'localhost',
    'LOCALHOST.',
    'host.docker.internal',
  ];
  for (const element of [...closed, ...loopback]) {
    const resources = parseResources(element);
    const expected = { code: 'SALLYPORT_POLICY_INVALID', message: /localhost:PORT|\*\*/ };
    t.throws(() => checkForDecision('allow', resources), expected, element);
    checkForDecision('deny', resources);
  }
  t.throws(() => checkForDecision('allow', parseResources('a.test,localhost,::/0')), {
    message: /"localhost": .*"::\/0": /,
  });
  checkForDecision('allow', parseResources('localhost:80,127.0.0.1,10.0.0.0/8,**,::/1'));
});

t.test('the canonical text means the same', async () => {
  fc.assert(
    fc.property(elements, (element) => {
      const once = parseResource(element);
      const again = parseResource(once.text);
      const loud = parseResource(element.toUpperCase());
      return [again, loud].every((other) => JSON.stringify(other) === JSON.stringify(once));
    }),
    { numRuns: 2_000 },
  );
});

t.test('whatever is written, the answer is a resource or words', async () => {
  const signs = fc.string({ unit: fc.constantFrom(...'ab1.*?[]!-:/,%\\ é\0'), maxLength: 16 });
  fc.assert(
    fc.property(signs, (list) => {
      try {
        return parseResources(list).every(({ text }) => parseResource(text).text === text);
      } catch (error) {
        return error instanceof SallyportError && error.message.length < 10_000;
      }
    }),
    { numRuns: 5_000 },
  );
});

t.test('host and port, apart and together', async (t) => {
  t.equal(formatHostPort('example.com', 80), 'example.com:80');
  t.equal(formatHostPort('2001:db8::1', 80), '[2001:db8::1]:80');
  t.strictSame(splitPort('[::1]:80'), { host: '[::1]', port: 80 });
  t.strictSame(splitPort('[::1]'), { host: '[::1]', port: 0 });
  t.match(splitPort('::1:80'), { port: /brackets/ });
});
