// Rules and questions from alphabets so small that they meet all the time: a property over names
// that never match would hold for a matcher that always says no.
import fc from 'fast-check';
import { type Address, parseAddress } from '../../src/policy/address.ts';
import type { Question } from '../../src/policy/decision.ts';
import { type Host, normalizeHost } from '../../src/policy/host.ts';
import { parseHttpMatch } from '../../src/policy/http.ts';
import { parseResources } from '../../src/policy/resource.ts';
import type { Decision, Protocol, Rule, Source } from '../../src/policy/rule.ts';

// Labels share beginnings, ends and lengths; one is a part of another, one is a digit away.
const LABELS = ['a', 'a', 'b', 'ab', 'aab', 'a-b', 'x9', 'com', 'xn--bcher-kva'] as const;
const LAST_LABELS = ['com', 'com', 'com', 'a'] as const;
const GLOBS = [
  ['*', 'a*', '*b', 'a*b', '*a*', 'x?', '?', '??', 'a?b', '?*'],
  ['[ab]', '[!a]', '[a-c]', '[!a-c]*', 'a[-b]*', '[ab][!-]', '*[0-9]', 'x[!0-8]', '[a-b1-]?'],
].flat();
const PORTS = [0, 0, 0, 443, 443, 80, 444, 65_535] as const;
const SCOPES = [0, 0, 0, 1, 1, 2, 257] as const;
const PROTOCOLS = [['tcp'], ['tcp', 'udp'], ['udp']] as const satisfies Protocol[][];

/** Edges of the ranges below, so that one bit decides. */
const ADDRESSES = [
  ['0.0.0.0', '10.0.0.0', '10.0.0.1', '10.0.0.127', '10.0.0.128', '10.0.1.0', '10.255.255.255'],
  ['11.0.0.0', '127.0.0.1', '127.0.0.2', '169.254.169.254', '203.0.113.7', '255.255.255.255'],
  ['::', '::1', '::a00:1', 'fe80::1', 'fc00::1', '2001:db8::', '2001:db8::1', '2001:db8::8000'],
  ['2001:db8:0:1::', '2001:db8:8000::1', '2001:db9::1', '64:ff9b::a00:1', 'a00::'],
].flat();

const RANGES = [
  ['0.0.0.0/0', '10.0.0.0/8', '10.0.0.0/24', '10.0.0.0/25', '10.0.0.128/25', '10.0.0.1/32'],
  ['10.0.0.0/31', '127.0.0.0/8', '128.0.0.0/1', '::/0', '2001:db8::/32', '2001:db8::/33'],
  ['2001:db8::/64', '2001:db8::/127', '2001:db8::1/128', '::/96', '64:ff9b::/96', 'fc00::/7'],
].flat();

const labels = fc.tuple(
  fc.array(fc.constantFrom(...LABELS), { maxLength: 2 }),
  fc.constantFrom(...LAST_LABELS),
);

/** A name of one to four labels, `localhost` among them. */
export const hosts: fc.Arbitrary<Host> = fc.oneof(
  {
    weight: 12,
    arbitrary: labels.map(([front, last]) => normalizeHost([...front, last].join('.'))),
  },
  { weight: 1, arbitrary: fc.constant(normalizeHost('localhost')) },
);

export const addresses: fc.Arbitrary<Address> = fc
  .constantFrom(...ADDRESSES)
  .map((text) => parseAddress(text) as Address);

const withPort = (name: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(name, fc.constantFrom(...PORTS))
    .map(([text, port]) => (port === 0 ? text : `${text}:${port}`));

const patterns = fc
  .tuple(
    fc.constantFrom('', '', '*.', '**.'),
    fc.array(
      fc.oneof(
        { weight: 3, arbitrary: fc.constantFrom(...LABELS) },
        { weight: 2, arbitrary: fc.constantFrom(...GLOBS) },
      ),
      { maxLength: 2 },
    ),
    fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom<string>(...LAST_LABELS) },
      { weight: 1, arbitrary: fc.constantFrom(...GLOBS) },
    ),
  )
  .map(([prefix, front, last]) => prefix + [...front, last].join('.'))
  // Refused by the grammar: `*` for what `**` says, and brackets around the whole.
  .filter((pattern) => pattern !== '*' && !/^\[[^\]]*\]$/.test(pattern));

/** One element as people write it, every kind of the grammar. */
export const elements: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: withPort(patterns) },
  {
    weight: 1,
    arbitrary: withPort(fc.constantFrom('localhost', 'localhost', '*.docker.internal')),
  },
  { weight: 1, arbitrary: withPort(fc.constant('**')) },
  { weight: 2, arbitrary: fc.constantFrom(...RANGES) },
  {
    weight: 2,
    arbitrary: fc.tuple(addresses, fc.constantFrom(...PORTS)).map(([address, port]) => {
      if (!address.includes(':')) return port === 0 ? address : `${address}:${port}`;
      return port === 0 ? `${address}/128` : `[${address}]:${port}`;
    }),
  },
);

const PATHS = ['/**', '/', '/a', '/a/**', '/a/*', '/*/b', '/**/b', '/a*b', '/**/a/*b/**', '/*'];

/** Paths of requests, of segments that the patterns above meet. */
export const paths: fc.Arbitrary<string> = fc
  .array(fc.constantFrom('', 'a', 'b', 'ab', 'aab', 'c'), { minLength: 1, maxLength: 5 })
  .map((segments) => `/${segments.join('/')}`);

const methods = fc.constantFrom('GET', 'POST', 'BREW', 'get');

const httpMatches = fc
  .tuple(
    fc.constantFrom(['ANY'], ['GET'], ['GET', 'POST'], ['CONNECT']),
    fc.array(fc.constantFrom(...PATHS), { minLength: 1, maxLength: 2 }),
  )
  .map(([names, patterns]) => parseHttpMatch(names, patterns));

const bodies = fc
  .record({
    source: fc.constantFrom<Source>('local', 'kit', 'remote'),
    decision: fc.constantFrom<Decision>('allow', 'allow', 'deny'),
    scope: fc.constantFrom(...SCOPES),
    protocols: fc.constantFrom<readonly Protocol[]>(...PROTOCOLS),
    resources: fc
      .array(elements, { minLength: 1, maxLength: 3 })
      .map((list) => parseResources(list.join(','))),
    http: fc.option(httpMatches, { nil: undefined, freq: 2 }),
  })
  .map(({ http, ...body }) => (http === undefined ? body : { ...body, http }));

/** Rules in list order, with ids that are unique; `[]` is among them. */
export const ruleLists: fc.Arbitrary<Rule[]> = fc
  .array(bodies, { maxLength: 12, size: 'max' })
  .map((list) => list.map((body, i) => ({ id: `r${i}`, ...body })));

/** One rule under this id. */
export function ruleNamed(id: string, decision?: Decision): fc.Arbitrary<Rule> {
  return bodies.map((body) => ({ ...body, id, decision: decision ?? body.decision }));
}

export const questions: fc.Arbitrary<Question> = fc
  .record({
    scope: fc.constantFrom(0, 1, 1, 2, 3, 257),
    host: fc.oneof({ weight: 3, arbitrary: hosts }, { weight: 2, arbitrary: addresses }),
    port: fc.constantFrom(443, 443, 443, 80, 444, 1, 65_535),
    protocol: fc.constantFrom<Protocol>('tcp', 'tcp', 'udp'),
    namedOnly: fc.constantFrom(false, false, true),
    request: fc.option(fc.record({ method: methods, path: paths }), { nil: undefined }),
  })
  .map(({ request, ...question }) => (request === undefined ? question : { ...question, request }));
