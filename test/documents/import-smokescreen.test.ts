// A smokescreen ACL file, as sandboxes: nothing is allowed that it would not.
import fc from 'fast-check';
import t from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { documentRules, ScopeTable } from '../../src/documents/document.ts';
import { importSmokescreen } from '../../src/documents/import-smokescreen.ts';
import { documentText } from '../../src/documents/write.ts';
import { judgeTarget } from '../../src/policy/judge.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';

type Service = { name: string; action: string; allowed_domains: string[] };
type Acl = {
  version: 'v1';
  services: Service[];
  default?: Omit<Service, 'name'>;
  global_allow_list: string[];
  global_deny_list: string[];
};

const NAMES = ['a.com', '*.a.com', 'x.a.com', '*.x.a.com', 'b.org', '*.org.uk'];
const HOSTS = ['a.com', 'x.a.com', 'y.x.a.com', 'b.org', 'c.org.uk', 'other.net'];
type Pair = readonly [service: string, host: string];
const PAIRS = ['one', 'two', 'other'].flatMap((service) =>
  HOSTS.map((host): Pair => [service, host]),
);
const domains = fc.array(fc.constantFrom(...NAMES), { maxLength: 3 });
const action = fc.constantFrom('open', 'report', 'enforce', 'enforce');
const acls: fc.Arbitrary<Acl> = fc
  .record({
    one: fc.option(fc.record({ action, allowed_domains: domains })),
    two: fc.option(fc.record({ action, allowed_domains: domains })),
    rest: fc.option(fc.record({ action, allowed_domains: domains })),
    global_allow_list: domains,
    global_deny_list: domains,
  })
  .map(({ one, two, rest, ...lists }) => ({
    version: 'v1' as const,
    services: [
      ...(one === null ? [] : [{ name: 'one', ...one }]),
      ...(two === null ? [] : [{ name: 'two', ...two }]),
    ],
    ...(rest && { default: rest }),
    ...lists,
  }));

function matches(host: string, domain: string): boolean {
  return domain.startsWith('*.') ? host.endsWith(domain.slice(1)) : host === domain;
}

/** In the order in which smokescreen looks. */
function smokescreenAllows(acl: Acl, service: string, host: string): boolean {
  const rule = acl.services.find(({ name }) => name === service) ?? acl.default;
  const among = (list: readonly string[]): boolean => list.some((one) => matches(host, one));
  if (rule === undefined) return false;
  if (among(rule.allowed_domains)) return true;
  if (among(acl.global_deny_list)) return false;
  return among(acl.global_allow_list) || rule.action !== 'enforce';
}

t.test('never more than smokescreen allows, and the same when nothing is reported', async (t) => {
  let [exact, allowed] = [0, 0];
  fc.assert(
    fc.property(acls, (acl) => {
      const text = JSON.stringify(acl);
      const { document, losses } = importSmokescreen(text, 'acl.yaml');
      if (losses.length === 0) exact++;
      const scopes = new ScopeTable();
      const matcher = referenceMatcher(documentRules(document, scopes));
      const isHere = ([service, host]: Pair): boolean => {
        const question = { scope: scopes.numberOf(service), host, port: 443, protocol: 'tcp' };
        return judgeTarget(matcher, question as never, 'strict').action === 'allow';
      };
      const here = PAIRS.filter(isHere);
      const there = new Set(
        PAIRS.filter(([service, host]) => smokescreenAllows(acl, service, host)),
      );
      allowed += here.length;
      t.strictSame(
        here.filter((pair) => !there.has(pair)),
        [],
        text,
      );
      if (losses.length === 0) t.equal(here.length, there.size, text);
    }),
    { numRuns: 1_000 },
  );
  t.ok(exact > 20, `${exact} exact`);
  t.ok(allowed > 1_000, `${allowed} allowed`);
});

t.test('a file as people have it', async (t) => {
  const { document, losses } = importSmokescreen(
    `---
version: v1
services:
  - name: ci-runner
    project: build
    action: enforce
    allowed_domains:
      - example.com
      - "*.example.org"
      - "*"
      - "*.com"
      - a.com,b.com
    allowed_external_proxies: [proxy.example.com]
  - name: Not A Sandbox
    action: open
  - name: watch
    action: report
    allowed_domains: [watched.com]
default:
  project: other
  action: open
global_allow_list: [all.com]
global_deny_list: ["*.bad.com"]
owner: me
`,
    'acl.yaml',
  );
  t.strictSame(documentText(document), {
    version: 1,
    preset: 'deny-all',
    rules: [{ allow: 'all.com' }, { deny: '**.bad.com' }],
    sandboxes: {
      'ci-runner': [{ allow: 'example.com' }, { allow: '**.example.org' }],
      watch: [{ allow: 'watched.com' }],
    },
  });
  t.strictSame(losses.map(({ effect, at, what }) => `${effect} ${at} ${what}`).sort(), [
    'left-out acl.yaml:10:9 *',
    'left-out acl.yaml:11:9 *.com',
    'left-out acl.yaml:12:9 a.com,b.com',
    'left-out acl.yaml:13:5 allowed_external_proxies',
    'left-out acl.yaml:14:5 service Not A Sandbox',
    'left-out acl.yaml:20:3 default',
    'left-out acl.yaml:24:1 owner',
    'narrower acl.yaml:17:13 watch: report',
    'narrower acl.yaml:23:19 global_deny_list',
  ]);
  t.equal(document.rules[0]?.at, 'acl.yaml:22:21');
});

t.test('that special addresses are allowed there, beside the file, is assumed', async (t) => {
  const text = `version: v1
services:
- {name: x, action: enforce, allowed_domains: [8.8.8.8, 10.1.2.3, "169.254.169.254:80", a.com]}
global_deny_list: [10.9.9.9]`;
  const { document, losses } = importSmokescreen(text, 'a');
  t.equal(document.rules.length, 5);
  t.strictSame(
    losses.filter(({ effect }) => effect === 'assumed').map(({ what }) => what),
    ['10.1.2.3', '169.254.169.254:80'],
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

t.test('what is no such file is refused, and a deny that cannot be said denies all', async (t) => {
  for (const [text, fault] of [
    ['version: v2\nservices: []', 'a:1:10: version: Invalid input: expected "v1"'],
    ['version: v1', 'a:1:1: services: Invalid input: expected array'],
    ['version: v1\nservices: [{name: x, action: maybe}]', 'a:2:30: services.0.action: '],
    ['[', 'a:1:2: '],
  ] as const) {
    t.equal(faultOf(() => importSmokescreen(text, 'a')).slice(0, fault.length), fault);
  }
  const text = 'version: v1\nservices: [{name: x, action: open}]\nglobal_deny_list: ["a_b.com"]';
  const { document, losses } = importSmokescreen(text, 'a');
  t.match(documentText(document), { rules: [{ deny: '**' }] });
  t.match(losses, [{ effect: 'narrower', at: 'a:3:20', why: /so everything is denied/ }]);
});
