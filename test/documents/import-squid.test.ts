// Whatever a squid.conf says, what is made of it allows nothing that squid would not; and the same, when
// nothing is reported. Covers src/documents/squid-config.ts, src/documents/import.ts and
// src/documents/ports.ts too.
import fc from 'fast-check';
import t from 'tap';
import { documentRules, ScopeTable } from '../../src/documents/document.ts';
import type { Imported } from '../../src/documents/import.ts';
import { importSquid } from '../../src/documents/import-squid.ts';
import {
  complementOf,
  intersectionOf,
  listedPorts,
  readPorts,
  unionOf,
} from '../../src/documents/ports.ts';
import { documentText } from '../../src/documents/write.ts';
import { type Address, addressBytes, covers, isAddress } from '../../src/policy/address.ts';
import type { Host } from '../../src/policy/host.ts';
import { judgeProbe } from '../../src/policy/probe.ts';
import { referenceMatcher } from '../../src/policy/reference.ts';

type Term = { readonly acl: keyof typeof ACLS; readonly negated: boolean };
type Line = { readonly action: 'allow' | 'deny'; readonly terms: readonly Term[] };
type Request = {
  readonly host: string;
  readonly port: number;
  readonly address: string;
  readonly time: boolean;
};

const within = (network: string, length: number, address: string): boolean =>
  covers(addressBytes(network as Address), length, addressBytes(address as Address));
const isBelow = (host: string, domain: string): boolean =>
  host === domain || (!isAddress(host) && host.endsWith(`.${domain}`));

/** Each with what squid makes of it; sandboxes are clients of `net`. */
const ACLS = {
  all: { text: '', matches: () => true },
  net: { text: 'src 10.0.0.0/8', matches: () => true },
  hours: { text: 'time 9:00-17:00', matches: ({ time }: Request) => time },
  d1: { text: 'dstdomain .a.com', matches: ({ host }: Request) => isBelow(host, 'a.com') },
  d2: {
    text: 'dstdomain b.a.com C.com',
    matches: ({ host }: Request) => ['b.a.com', 'c.com'].includes(host),
  },
  d3: {
    text: 'dstdomain .x.c.com a.com',
    matches: ({ host }: Request) => isBelow(host, 'x.c.com') || host === 'a.com',
  },
  n1: {
    text: 'dst 10.9.9.9/255.0.0.0',
    matches: ({ address }: Request) => within('10.0.0.0', 8, address),
  },
  n2: { text: 'dst 8.8.8.8', matches: ({ address }: Request) => address === '8.8.8.8' },
  p1: { text: 'port 443', matches: ({ port }: Request) => port === 443 },
  p2: { text: 'port 80 443', matches: ({ port }: Request) => port === 80 || port === 443 },
  p3: { text: 'port 1-100', matches: ({ port }: Request) => port <= 100 },
};

function squidAllows(lines: readonly Line[], request: Request): boolean {
  const found = lines.find(({ terms }) =>
    terms.every(({ acl, negated }) => ACLS[acl].matches(request) !== negated),
  );
  if (found !== undefined) return found.action === 'allow';
  return lines.at(-1)?.action === 'deny';
}

function configOf(lines: readonly Line[]): string {
  const acls = Object.entries(ACLS).flatMap(([name, { text }]) =>
    text === '' ? [] : [`acl ${name} ${text}`],
  );
  const access = lines.map(
    ({ action, terms }) =>
      `http_access ${action} ${terms.map(({ acl, negated }) => `${negated ? '!' : ''}${acl}`).join(' ')}`,
  );
  return [...acls, ...access].join('\n');
}

/** The looser of the two guards: it refuses no name for where it leads. */
function isAllowed({ document }: Imported, { host, port, address }: Request): boolean {
  const matcher = referenceMatcher(documentRules(document, new ScopeTable()));
  const asked = { scope: 0, protocol: 'tcp', host: host as Host, port, request: null } as const;
  const probe = { ...asked, address: address as Address };
  return judgeProbe(matcher, probe, 'docker').action === 'allow';
}

const hosts = ['a.com', 'b.a.com', 'q.b.a.com', 'c.com', 'x.c.com', 'y.x.c.com', 'other.org'];
const REQUESTS: Request[] = [...hosts, '10.0.0.1', '8.8.8.8', '9.9.9.9'].flatMap((host) =>
  (isAddress(host) ? [host] : ['10.0.0.1', '8.8.8.8', '9.9.9.9']).flatMap((address) =>
    [80, 443, 50, 3000].flatMap((port) =>
      [true, false].map((time) => ({ host, port, address, time })),
    ),
  ),
);

const terms = fc.record({
  acl: fc.constantFrom(...(Object.keys(ACLS) as Term['acl'][])),
  negated: fc.constantFrom(false, false, true),
});
const configs = fc
  .array(
    fc.record({
      action: fc.constantFrom<Line['action']>('allow', 'deny'),
      terms: fc.array(terms, { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 7 },
  )
  .chain((lines) =>
    fc.constantFrom<Line[]>(lines, [
      ...lines,
      { action: 'deny', terms: [{ acl: 'all', negated: false }] },
    ]),
  );

t.test('never more than squid allows, and the same when nothing is reported', async (t) => {
  let [exact, allowed] = [0, 0];
  fc.assert(
    fc.property(configs, (lines) => {
      const text = configOf(lines);
      const imported = importSquid(text, 'squid.conf', () => null);
      const isWhole = imported.losses.every(({ effect }) => effect === 'assumed');
      if (isWhole) exact++;
      const here = REQUESTS.filter((request) => isAllowed(imported, request));
      const there = new Set(REQUESTS.filter((request) => squidAllows(lines, request)));
      allowed += here.length;
      t.strictSame(
        here.filter((request) => !there.has(request)),
        [],
        text,
      );
      if (isWhole) t.equal(here.length, there.size, text);
    }),
    { numRuns: 1_500 },
  );
  t.ok(exact > 100, `${exact} exact`);
  t.ok(allowed > 5_000, `${allowed} allowed`);
});

function told(text: string, lists: Record<string, string> = {}) {
  const { document, losses } = importSquid(text, 's', (path) => lists[path] ?? null);
  const { rules = [] } = documentText(document);
  return {
    rules: rules.map(({ allow, deny }) => (allow === undefined ? { deny } : { allow })),
    losses: losses.map(({ effect, at, why }) => `${effect} ${at} ${why}`),
  };
}

t.test('the recommended configuration, with a list of sites', async (t) => {
  const { rules, losses } = told(
    `acl localnet src 10.0.0.0/8	# RFC1918
acl SSL_ports port 443
acl Safe_ports port 80		# http
acl Safe_ports port 443 1025-65535
acl CONNECT method CONNECT
acl sites dstdomain -n "/etc/squid/sites"
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
http_access deny to_localhost
http_access allow localnet \\
  sites
http_access deny all
http_reply_access allow all
cache_dir ufs /var/spool/squid 100 16 256
`,
    { '/etc/squid/sites': '.example.com # ours\n\napi.github.com\n' },
  );
  t.strictSame(rules, [
    { deny: ['127.0.0.0/8', '0.0.0.0', '::1/128', '::/128'] },
    { allow: ['example.com:443', '**.example.com:443', 'api.github.com:443'] },
  ]);
  t.strictSame(losses, [
    'left-out s:15 only acl and http_access are carried over',
    'narrower s:8 a policy has nothing for acl CONNECT (method), so it denies without it',
    'assumed s:12 your sandboxes are among acl localnet (src)',
  ]);
});

t.test('what cannot be said is reported, each with its line', async (t) => {
  const cases: [text: string, rules: unknown[], losses: string[]][] = [
    ['', [], []],
    ['http_access allow all', [{ allow: '**' }], []],
    [
      'acl d dstdomain .a.com\nhttp_access deny d',
      [{ deny: ['a.com', '**.a.com'] }, { allow: '**' }],
      [],
    ],
    [
      'acl h time 9:00-10:00\nhttp_access allow h',
      [],
      ['left-out s:2 a policy has nothing for acl h (time)'],
    ],
    [
      'http_access allow nowhere',
      [],
      ['left-out s:1 a policy has nothing for acl nowhere (no acl)'],
    ],
    [
      'acl d dstdomain a.com b_d.com *.c.com\nhttp_access allow d',
      [{ allow: 'a.com' }],
      ['left-out s:1 b_d.com: "b_d.com" is not a host name', 'left-out s:1 *.c.com: it is no name'],
    ],
    [
      'acl d dstdomain "/gone"\nhttp_access deny d\nhttp_access allow all',
      [],
      [
        'left-out s:1 /gone cannot be read',
        'narrower s:2 a policy has nothing for acl d',
        'left-out s:3 s:2 denies everything before it',
      ],
    ],
    [
      'acl a dstdomain a.com\nacl d dstdomain .a.com\nacl e dstdomain .org\nhttp_access allow a\nhttp_access deny d\nhttp_access allow !e',
      [
        { allow: 'a.com' },
        { deny: ['a.com', '**.a.com'] },
        { deny: ['org', '**.org'] },
        { allow: '**' },
      ],
      ['narrower s:5 it denies, too, what s:4 allows; here deny wins'],
    ],
    [
      'acl n dst 10.1.2.3 host.example 10.0.0.1-10.0.0.9\nacl d dstdomain a.com\nhttp_access allow n\nhttp_access allow n d',
      [{ allow: '10.1.2.3' }],
      [
        'left-out s:1 host.example: only addresses and ranges are carried over',
        'left-out s:1 10.0.0.1-10.0.0.9: only addresses and ranges are carried over',
        'left-out s:3 names that lead to its addresses have to be allowed by name',
        'left-out s:4 names and addresses cannot be asked for at once',
      ],
    ],
    [
      'acl p port 443 8000-9000\nacl n dst 10.0.0.0/8 192.168.1.1\nhttp_access allow p\nhttp_access allow p n',
      [{ allow: '**:443' }, { allow: '192.168.1.1:443' }],
      [
        'left-out s:3 ports 8000-9000 are too many to be written out',
        'left-out s:4 names that lead',
        'left-out s:4 ports 8000-9000',
        'left-out s:4 10.0.0.0/8: a range takes no port',
      ],
    ],
    [
      'acl p port 22\nacl d dstdomain a.com\nacl r dst 10.0.0.0/8\nhttp_access deny p d\nhttp_access deny p r\nhttp_access allow all',
      [{ deny: 'a.com:22' }, { deny: '10.0.0.0/8' }, { allow: '**' }],
      ['narrower s:5 its ports cannot be written out, so it denies all of them'],
    ],
    [
      'acl d dstdomain a.com\nacl d port 22\nhttp_access maybe d\nhttp_access allow d',
      [{ allow: 'a.com' }],
      ['left-out s:2 it is of type dstdomain already', 'left-out s:3 it neither allows nor denies'],
    ],
    [
      'acl r dst 10.1.2.3/255.0.255.0 10.9.9.9/8 ::ffff/16 all\nhttp_access deny r\nhttp_access allow all',
      [],
      [
        'left-out s:1 10.1.2.3/255.0.255.0: its mask is no length',
        'left-out s:1 all: only',
        'narrower s:2 ',
        'left-out s:3 ',
      ],
    ],
    [
      'acl x dstdomain localhost\nhttp_access allow x',
      [],
      ['left-out s:2 localhost: "localhost": the loopback'],
    ],
  ];
  for (const [text, rules, losses] of cases) {
    const found = told(text);
    t.strictSame(found.rules, rules, text);
    t.equal(found.losses.length, losses.length, `${text}: ${found.losses.join('; ')}`);
    for (const [i, loss] of losses.entries())
      t.ok(found.losses[i]?.startsWith(loss), `${loss}: ${found.losses[i]}`);
  }
});

t.test('lines are put together as squid does it', async (t) => {
  const acls = 'acl bad dstdomain .bad.com\nacl good dstdomain good.com\nacl p port 443\n';
  const denied = [{ deny: ['bad.com', '**.bad.com'] }, { allow: '**' }];
  const cases: [text: string, rules: unknown[]][] = [
    ['# a comment never goes on \\\nhttp_access deny bad\nhttp_access allow all', denied],
    ['  # nor does this \\\nhttp_access deny bad\nhttp_access allow all', denied],
    ['http_access allow good \\\n# between\n\n  p', [{ allow: 'good.com:443' }]],
    ['http_access deny ba\\\n   d\nhttp_access allow all', denied],
    ['acl x dstdomain .bad\\\n\t.com\nhttp_access deny x\nhttp_access allow all', denied],
    ['http_access deny BAD\nhttp_access allow all', denied],
    [
      'acl Good dstdomain better.com\nhttp_access deny gooD\nhttp_access allow all',
      [{ deny: ['good.com', 'better.com'] }, { allow: '**' }],
    ],
  ];
  for (const [text, rules] of cases) {
    const found = told(acls + text);
    t.strictSame(found.rules, rules, text);
    t.strictSame(found.losses, [], text);
  }
});

t.test('what squid may refuse elsewhere is never passed over', async (t) => {
  const acls = 'acl a dstdomain a.com\nacl b dstdomain b.com\n';
  const cases: [text: string, rules: unknown[], losses: RegExp][] = [
    ['if false\nhttp_access allow a\nendif', [], /left-out s:4 .*acl if/],
    [
      'if true\nhttp_access deny a\nendif\nhttp_access allow b',
      [{ allow: 'b.com' }],
      /narrower s:4 .* acl if/,
    ],
    [
      'if true\nhttp_access deny a\nelse\nhttp_access deny b\nendif',
      [],
      /narrower s:4 .*narrower s:6/,
    ],
    ['if true\nacl a dstdomain c.com\nendif\nhttp_access allow a', [], /left-out s:6 .*acl a/],
    ['http_access allow\nhttp_access allow a', [{ allow: 'a.com' }], /^left-out s:3 .*no acl/],
    ['http_access allow a\nhttp_access deny # b', [{ allow: 'a.com' }], /^left-out s:4 .*no acl/],
    ['endif\nif false\nhttp_access allow a\nendif', [], /left-out s:5 .*acl if/],
    [
      'include /etc/squid/conf.d/*.conf\nhttp_access allow a',
      [{ allow: 'a.com' }],
      /^assumed s:3 the files deny nothing/,
    ],
    [
      'http_reply_access deny b\nmiss_access allow a\nhttp_access allow a',
      [{ allow: 'a.com' }],
      /^assumed s:3 it refuses nothing.*assumed s:4 it refuses nothing/,
    ],
    [
      'acl m proto cache_object\nacl m proto HTTP\nhttp_access deny m\nhttp_access allow a',
      [],
      /narrower s:5 .*acl m .*left-out s:6/,
    ],
    [
      'acl manager url_regex -i ads\nhttp_access deny manager\nhttp_access allow a',
      [],
      /narrower s:4 .*acl manager .*left-out s:5/,
    ],
    [
      'acl manager url_regex -i ^cache_object:// +i ^https?://[^/]+/squid-internal-mgr/\nhttp_access deny manager\nhttp_access allow a',
      [{ allow: 'a.com' }],
      /^$/,
    ],
  ];
  for (const [text, rules, losses] of cases) {
    const found = told(acls + text);
    t.strictSame(found.rules, rules, text);
    t.match(found.losses.join('; '), losses, text);
  }
});

t.test('no text is too strange to be read', async () => {
  const words = fc.constantFrom(
    'acl',
    'http_access',
    'allow',
    'deny',
    'd',
    '!d',
    '!',
    '"',
    '"x"',
    'dst',
    'port',
    '1-0',
    '::',
    '#',
    '\\',
    '/0',
    '.',
    '-n',
    '99999',
  );
  const lines = fc.array(
    fc.array(words, { maxLength: 6 }).map((line) => line.join(' ')),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        lines.map((list) => list.join('\n')),
        fc.string(),
      ),
      (text) => {
        importSquid(text, 's', (path) => path);
      },
    ),
    { numRuns: 2_000 },
  );
});

t.test('sets of ports', async (t) => {
  t.strictSame(readPorts('80'), [80, 80]);
  t.strictSame(readPorts('1-65535'), [1, 65_535]);
  for (const bad of ['', 'x', '2-1', '65536', '1-', '-1', '1-2-3'])
    t.equal(readPorts(bad), null, bad);
  const sets = fc
    .array(fc.tuple(fc.nat(60), fc.nat(9)).map(([from, more]) => [from, from + more] as const))
    .map(unionOf);
  const has = (ports: ReturnType<typeof unionOf>, port: number): boolean =>
    ports.some(([from, to]) => from <= port && port <= to);
  fc.assert(
    fc.property(sets, sets, fc.integer({ min: 1, max: 80 }), (a, b, port) => {
      t.equal(has(intersectionOf(a, b), port), has(a, port) && has(b, port));
      t.equal(has(complementOf(a), port), !has(a, port));
      t.strictSame(complementOf(complementOf(a)), a);
      const { listed, left } = listedPorts(a, 4);
      t.equal(listed.includes(port) || has(left, port), has(a, port));
    }),
  );
});
