// The decision as everybody gets it: the name, then every address it leads to.
import t from 'tap';
import { offlineMatcher } from '../../src/matcher/offline.ts';
import { type Address, parseAddress } from '../../src/policy/address.ts';
import { parseHost } from '../../src/policy/host.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import { type AddressGuard, judgeAddresses, judgeTarget } from '../../src/policy/judge.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';
import { rulesOf, type Written } from '../helpers/rules.ts';

function target(
  rules: readonly Written[],
  host: string,
  port = 80,
  guard: AddressGuard = 'strict',
): string {
  const question = { scope: 0, host: parseHost(host), port, protocol: 'tcp' } as const;
  return judgeTarget(referenceMatcher(rulesOf(...rules)), question, guard).action;
}

function checked(
  rules: readonly Written[],
  addresses: readonly string[],
  guard: AddressGuard = 'strict',
): readonly string[] {
  const question = {
    scope: 0,
    host: parseHost('name.example'),
    port: 80,
    protocol: 'tcp',
  } as const;
  const parsed = addresses.map((text) => parseAddress(text) as Address);
  return judgeAddresses(referenceMatcher(rulesOf(...rules)), question, parsed, guard).checked;
}

t.test('the loopback opens by localhost:PORT alone, and closes by any of its names', async (t) => {
  for (const host of ['localhost', 'host.docker.internal', '127.0.0.1', '[::1]']) {
    t.equal(target([['allow', '**']], host), 'deny', `** does not open ${host}`);
    t.equal(target([['allow', 'localhost:80']], host), 'allow', host);
    t.equal(target([['allow', 'localhost:80']], host, 81), 'deny', `${host} on another port`);
    t.equal(
      target(
        [
          ['allow', 'localhost:80'],
          ['deny', 'localhost'],
        ],
        host,
      ),
      'deny',
      `deny closes ${host}`,
    );
    const opened: Written = ['allow', 'localhost:80'];
    for (const pattern of ['*.docker.internal', '**.internal:80', 'host.*.internal']) {
      t.equal(target([['allow', pattern]], host), 'deny', `${pattern} does not open ${host}`);
      t.equal(target([opened, ['deny', pattern]], host), 'deny', `${pattern} closes ${host}`);
    }
    t.equal(target([opened, ['deny', '*.internal']], host), 'allow', `${host} is not below it`);
  }
  t.equal(target([['allow', '127.0.0.1']], 'localhost'), 'deny');
  t.equal(
    target(
      [
        ['allow', 'localhost:80'],
        ['deny', '127.0.0.0/8'],
      ],
      'localhost',
    ),
    'deny',
  );
});

t.test('a request is denied by any reading of it, and allowed by all', async (t) => {
  const only = (decision: 'allow' | 'deny', methods: string[], paths: string[]): Written => [
    decision,
    'name.example',
    { protocols: ['tcp'], http: parseHttpMatch(methods, paths) },
  ];
  const all: Written = ['allow', 'name.example'];
  const cases: [rules: Written[], method: string, path: string, action: string][] = [
    [[all, only('deny', ['DELETE'], [])], 'DELETE', '/', 'deny'],
    [[all, only('deny', ['DELETE'], [])], 'delete', '/', 'deny'],
    [[all, only('deny', ['DELETE'], [])], 'Delete', '/', 'deny'],
    [[all, only('deny', ['DELETE'], [])], 'brew', '/', 'allow'],
    [[only('allow', ['GET'], [])], 'GET', '/', 'allow'],
    [[only('allow', ['GET'], [])], 'get', '/', 'deny'],
    [[only('allow', ['ANY'], [])], 'get', '/', 'allow'],
    [[all, only('deny', ['ANY'], [])], 'OPTIONS', '*', 'deny'],
    [[only('allow', ['OPTIONS'], ['/a'])], 'OPTIONS', '*', 'deny'],
    [[all, only('deny', ['POST'], ['/admin/x'])], 'POST', '/admin;y%2Fz/x', 'deny'],
    [[only('allow', ['GET'], ['/a*/**'])], 'GET', '/a;x%2Fy/b', 'allow'],
    [[only('allow', ['GET'], ['/a/*/b'])], 'GET', '/a;x%2Fy/b', 'deny'],
  ];
  for (const [written, method, path, action] of cases) {
    const rules = rulesOf(...written);
    const host = parseHost('name.example');
    const question = { scope: 0, host, port: 443, protocol: 'tcp' } as const;
    for (const matcher of [referenceMatcher(rules), await offlineMatcher(rules)]) {
      const verdict = judgeTarget(matcher, question, 'strict', { method, target: path });
      t.equal(verdict.action, action, `${method} ${path}`);
    }
  }
});

t.test('private and metadata addresses must be named', async (t) => {
  t.equal(target([['allow', '**']], '10.0.0.1'), 'deny');
  t.equal(target([['allow', '**']], '10.0.0.1', 80, 'docker'), 'allow');
  t.equal(target([['allow', '**']], '169.254.169.254', 80, 'docker'), 'deny', 'not even then');
  for (const host of ['127.0.0.1', '127.0.0.2', '127.255.255.254', '[::1]', '0.0.0.0']) {
    t.equal(target([['allow', '**']], host, 80, 'docker'), 'deny', `${host} is this machine`);
  }
  t.equal(target([['allow', '127.0.0.2']], '127.0.0.2', 80, 'docker'), 'allow');
  t.equal(target([['allow', 'localhost:80']], '127.0.0.2', 80, 'docker'), 'deny');
  t.equal(target([['allow', '**,10.0.0.0/8']], '10.0.0.1'), 'allow');
  t.equal(target([['allow', '**']], '8.8.8.8'), 'allow');
});

t.test('of the addresses of a name, only those that may be are left', async (t) => {
  t.strictSame(checked([], ['8.8.8.8', '127.0.0.1', '10.0.0.1', '::1', '169.254.169.254']), [
    '8.8.8.8',
  ]);
  t.strictSame(checked([['allow', '10.0.0.0/8']], ['10.0.0.1', '192.168.0.1']), ['10.0.0.1']);
  t.strictSame(
    checked([['deny', '8.8.0.0/16']], ['8.8.8.8', '9.9.9.9']),
    ['9.9.9.9'],
    'a denied range is not reached by a name',
  );
  t.strictSame(checked([], ['10.0.0.1', '169.254.169.254'], 'docker'), ['10.0.0.1']);
  t.strictSame(checked([['allow', 'localhost:80']], ['127.0.0.1']), ['127.0.0.1']);
});
