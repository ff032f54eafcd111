// Settings of sandbox-runtime: nothing is allowed that it would not.
import fc from 'fast-check';
import t from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { documentRules, ScopeTable } from '../../src/documents/document.ts';
import { importSrt } from '../../src/documents/import-srt.ts';
import { documentText } from '../../src/documents/write.ts';
import { judgeTarget } from '../../src/policy/judge.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';

const PATTERNS = [
  'a.com',
  '*.a.com',
  'x.a.com:443',
  '*.x.a.com:80',
  'b.org',
  '10.0.0.1',
  '[2001:db8::1]',
  '[2001:db8::1]:443',
];
const HOSTS = ['a.com', 'x.a.com', 'y.x.a.com', 'b.org', '10.0.0.1', '2001:db8::1', 'other.net'];

type Place = readonly [host: string, port: number];
const PLACES = HOSTS.flatMap((host): Place[] => [
  [host, 80],
  [host, 443],
]);

function matches(host: string, port: number, pattern: string): boolean {
  const [, bracketed, plain = '', own] = /^(?:\[(.*)\]|(.*?))(?::(\d+))?$/.exec(pattern) ?? [];
  if (own !== undefined && Number(own) !== port) return false;
  const name = bracketed ?? plain;
  if (name === '*') return true;
  return name.startsWith('*.') ? host.endsWith(name.slice(1)) : host === name;
}

t.test('never more than it allows, and the same when nothing is reported', async (t) => {
  const allowed = fc.array(
    fc.constantFrom(...PATTERNS, 'bad_name.com', '*', '*.com', 'a.com,b.org'),
    { maxLength: 4 },
  );
  const denied = fc.array(fc.constantFrom(...PATTERNS, ...PATTERNS, '*:80'), { maxLength: 2 });
  let [exact, passed] = [0, 0];
  fc.assert(
    fc.property(allowed, denied, (allowedDomains, deniedDomains) => {
      const text = JSON.stringify({ network: { allowedDomains, deniedDomains } });
      const { document, losses } = importSrt(text, 'srt.json');
      if (losses.length === 0) exact++;
      const matcher = referenceMatcher(documentRules(document, new ScopeTable()));
      const isHere = ([host, port]: Place): boolean => {
        const question = { scope: 0, host, port, protocol: 'tcp' } as never;
        return judgeTarget(matcher, question, 'docker').action === 'allow';
      };
      const real = allowedDomains.filter((one) => !/^\*(\.com)?$/.test(one)); // It takes no others.
      const among = (list: readonly string[], [host, port]: Place): boolean =>
        list.some((one) => matches(host, port, one));
      const here = PLACES.filter(isHere);
      const there = new Set(PLACES.filter((one) => among(real, one) && !among(deniedDomains, one)));
      passed += here.length;
      t.strictSame(
        here.filter((place) => !there.has(place)),
        [],
        text,
      );
      if (losses.length === 0) t.equal(here.length, there.size, text);
    }),
    { numRuns: 1_000 },
  );
  t.ok(exact > 100, `${exact} exact`);
  t.ok(passed > 500, `${passed} allowed`);
});

t.test('settings as people have them', async (t) => {
  const { document, losses } = importSrt(
    `{
  "network": {
    "allowedDomains": ["github.com", "*.github.com", "localhost"],
    "deniedDomains": ["malicious.com", "*:22"],
    "allowUnixSockets": ["/var/run/docker.sock"],
    "allowLocalBinding": false
  },
  "filesystem": { "denyRead": ["~/.ssh"] },
  "ignoreViolations": {}
}`,
    'srt.json',
  );
  t.strictSame(documentText(document).rules, [
    { allow: 'github.com' },
    { allow: '**.github.com' },
    { deny: 'malicious.com' },
    { deny: '**:22' },
  ]);
  t.strictSame(
    losses.map(({ effect, at, what }) => `${effect} ${at} ${what}`),
    [
      'left-out srt.json:3:54 localhost',
      'left-out srt.json:8:3 filesystem',
      'left-out srt.json:9:3 ignoreViolations',
      'left-out srt.json:5:5 allowUnixSockets',
      'left-out srt.json:6:5 allowLocalBinding',
    ],
  );
});

function faultOf(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    return error instanceof SallyportError ? error.message : String(error);
  }
}

t.test(
  'what are no such settings is refused, and a deny that cannot be said denies all',
  async (t) => {
    for (const [text, fault] of [
      ['{}', 's:1:1: there is no network in it'],
      ['[]', 's:1:1: there is no network in it'],
      ['{"network": []}', 's:1:1: there is no network in it'],
      ['{"network": {"allowedDomains": "a.com"}}', 's:1:32: it must be a list of texts'],
      ['{"network": {"deniedDomains": [1]}}', 's:1:31: it must be a list of texts'],
      ['{', 's:1:2: '],
    ] as const) {
      t.equal(faultOf(() => importSrt(text, 's')).slice(0, fault.length), fault);
    }
    const { document, losses } = importSrt(
      '{"network": {"deniedDomains": ["a.com/x", "[x]"]}}',
      's',
    );
    t.strictSame(documentText(document).rules, [{ deny: '**' }, { deny: '**' }]);
    t.match(losses, [{ effect: 'narrower', why: /so everything is denied/ }, {}]);
  },
);
