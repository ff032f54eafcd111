// The grammar; src/policy/target.ts and src/policy/reference.ts stand behind the same tables.
import t from 'tap';
import { checkForDecision, parseResources } from '../../src/policy/resource.ts';
import { parseTarget } from '../../src/policy/target.ts';

t.test('canonical text parses to itself', async (t) => {
  const list =
    'Example.COM:443,*.example.com,**.Example.com:80,crl*.x.com,api?.x.com,api[12].x.com,**,**:443,10.1.2.3:22,10.0.0.0/8,[2001:DB8::1]:443,2001:db8::/32,host.docker.internal:80,bücher.example';
  const once = parseResources(list).map(({ text }) => text);
  t.strictSame(once.slice(0, 3), ['example.com:443', '*.example.com', '**.example.com:80']);
  t.ok(once.includes('localhost:80'));
  t.strictSame(
    parseResources(once.join(',')).map(({ text }) => text),
    once,
  );
  t.equal(parseResources('a.com, A.com ,a.com.').length, 1, 'one resource once');
});

t.test('every fault is told with its element, and what to write', async (t) => {
  const faults: [element: string, words: RegExp][] = [
    ['*', /\*\*/],
    ['*:443', /\*\*/],
    ['', /empty/],
    ['a\\*.com', /escaped/],
    ['https://a.com', /URL/],
    ['2001:db8::1', /\[2001:db8::1\]:PORT/],
    ['10.0.0.1/8', /10\.0\.0\.0\/8/],
    ['10.0.0.0/8:80', /port/],
    ['a.com:0', /65535/],
    ['a.com:65536', /65535/],
    ['a.com:80-90', /65535/],
    ['a.com:+80', /65535/],
    ['a.com:080', /65535/],
    ['a.**.com', /first/],
    ['0x7f.1', /address/],
    ['a_b.com', /letters/],
  ];
  for (const [element, words] of faults) {
    t.throws(
      () => parseResources(element),
      { code: 'SALLYPORT_POLICY_INVALID', message: words },
      element,
    );
  }
  t.throws(() => parseResources('ok.com,*,a..b'), {
    message: /element 2 "\*".*element 3 "a\.\.b"/,
  });
});

t.test('what may be denied but not allowed', async (t) => {
  for (const list of ['0.0.0.0/0', '::/0', '0.0.0.0', 'localhost']) {
    t.throws(
      () => checkForDecision('allow', parseResources(list)),
      { code: 'SALLYPORT_POLICY_INVALID' },
      list,
    );
    checkForDecision('deny', parseResources(list));
  }
  checkForDecision('allow', parseResources('localhost:80,**'));
});

t.test('targets of a check', async (t) => {
  for (const [text, host, port] of [
    ['a.com', 'a.com', 443],
    ['a.com:80', 'a.com', 80],
    ['http://a.com/x', 'a.com', 80],
    ['https://a.com', 'a.com', 443],
    ['ssh://a.com:22', 'a.com', 22],
    ['192.0.2.1', '192.0.2.1', 443],
    ['[2001:db8::1]:80', '2001:db8::1', 80],
    ['host.docker.internal:8080', 'localhost', 8080],
  ] as const)
    t.match(parseTarget(text), { host, port }, text);
  for (const bad of ['ssh://a.com', 'a b', 'a.com:0', ''])
    t.throws(() => parseTarget(bad), { code: 'SALLYPORT_TARGET_INVALID' }, bad);
});
