import fc from 'fast-check';
import t from 'tap';
import { parseAddress } from '../../src/policy/address.ts';
import { touches } from '../../src/policy/explain.ts';
import { normalizeHost } from '../../src/policy/host.ts';
import { nearMiss } from '../../src/policy/near.ts';
import type { Rule } from '../../src/policy/rule.ts';
import { questions, ruleLists } from '../helpers/arbitraries.ts';
import { ruleOf } from '../helpers/rules.ts';

const nameOf = (scope: number): string => `sandbox:box-${scope}`;

function near(
  resources: string,
  host: string,
  port = 443,
  more: Partial<Rule> = {},
): string | null {
  const name = parseAddress(host) ?? normalizeHost(host);
  const question = { scope: 0, host: name, port, protocol: 'tcp' } as const;
  return nearMiss(ruleOf('allow', resources, more), question, nameOf)?.why ?? null;
}

t.test('what keeps a rule from covering a host, in words', async (t) => {
  for (const [resources, host, port, why] of [
    [
      '*.example.com',
      'example.com',
      443,
      '`*.example.com` does not cover `example.com`: it covers exactly one label more; `example.com` is the name itself',
    ],
    [
      '*.example.com',
      'a.b.example.com',
      443,
      '`*.example.com` does not cover `a.b.example.com`: it covers exactly one label more, not 2; `**.example.com` covers any number',
    ],
    [
      'example.com',
      'www.example.com',
      443,
      '`example.com` does not cover `www.example.com`: it is that name alone; `*.example.com` covers those below it',
    ],
    ['example.com:443', 'example.com', 80, 'it is for port 443, not 80'],
    [
      '**.example.com:443',
      'example.com',
      80,
      '`**.example.com` does not cover `example.com`: it covers one or more labels more; `example.com` is the name itself; it is for port 443, not 80',
    ],
    [
      'exmaple.com',
      'example.com',
      443,
      '`exmaple.com` is spelt a little differently from `example.com`',
    ],
    [
      'exampel.org,b.com',
      'examp1el.org',
      443,
      '`exampel.org` is spelt a little differently from `examp1el.org`',
    ],
    [
      'www.example.com',
      'api.example.com',
      443,
      '`www.example.com` is another name under `example.com`',
    ],
    ['10.0.0.0/24', '10.0.1.1', 443, '10.0.1.1 is not within 10.0.0.0/24'],
    ['10.0.0.1:22', '10.0.0.1', 443, 'it is for port 22, not 443'],
    ['b.com,**:443', 'example.com', 80, 'it is for port 443, not 80'],
    ['other.net', 'example.com', 443, null],
    ['10.0.0.0/24', '192.168.0.1', 443, null],
    ['10.0.0.0/24', 'example.com', 443, null],
    ['*.com', '10.0.0.1', 443, null],
    ['**.*', 'localhost', 443, null], // It covers host.docker.internal, which is the same machine.
    ['example.com', 'example.com', 443, null],
  ] as const) {
    t.equal(near(resources, host, port), why, `${resources} and ${host}:${port}`);
  }
  t.equal(near('a.com', 'a.com', 1, { scope: 7 }), 'it is for sandbox:box-7 alone');
  t.equal(near('a.com', 'a.com', 1, { protocols: ['udp'] }), 'it is for udp, not tcp');
  t.equal(near('a.com', 'a.com', 1, { decision: 'deny', scope: 7 }), null);
});

t.test('a rule is near or has a say, never both', async (t) => {
  let found = 0;
  fc.assert(
    fc.property(ruleLists, questions, (rules, question) =>
      rules.every((rule) => {
        const miss = nearMiss(rule, question, nameOf);
        if (miss === null) return true;
        found++;
        return (
          miss.why !== '' && touches({ ...rule, resources: [miss.resource] }, question) === null
        );
      }),
    ),
    { numRuns: 800 },
  );
  t.ok(found > 500, `${found} were near`);
});
