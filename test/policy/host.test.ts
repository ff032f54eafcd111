import fc from 'fast-check';
import t from 'tap';
import { normalizeHost, parseHost } from '../../src/policy/host.ts';

const same: [spelling: string, host: string, why: string][] = [
  ['API.Example.com', 'api.example.com', 'case is insignificant (RFC 3986 section 6.2.2.1)'],
  ['api.example.com.', 'api.example.com', 'the root label is implied'],
  ['bücher.example', 'xn--bcher-kva.example', 'U-labels become A-labels (RFC 5890)'],
  ['ｅxample.com', 'example.com', 'full-width letters are mapped (UTS-46)'],
  ['faß.de', 'xn--fa-hia.de', 'sharp s is a letter of its own'],
  ['a\u00adb.com', 'ab.com', 'a soft hyphen is no character of a name'],
  ['3com.com', '3com.com', 'a label may begin with a digit'],
];
for (const [spelling, host, why] of same) t.equal(normalizeHost(spelling), host, why);

const faults = [
  ...[
    '',
    '.',
    '..',
    'a..b',
    'example.com..',
    '.example.com',
    '-a.com',
    'a-.com',
    'a_b.com',
    'exa mple.com',
  ],
  ...[
    'evil.com\0.google.com',
    'a.com\r\n',
    '%65xample.com',
    'a.com/',
    'a@b.com',
    'a:b',
    '[a.com]',
    '[[a.com]]',
  ],
  ...['127.1', '0x7f.1', '0177.0.0.1', '2130706433', '1.2.3.4.', 'foo.0x1f', 'a.1', '1.2.3.4.5'],
  ...['a'.repeat(64), `${'a'.repeat(64)}.com`, `${'a.'.repeat(127)}ab`, 'x'.repeat(300)],
];
for (const spelling of faults) {
  t.throws(
    () => normalizeHost(spelling),
    { code: 'SALLYPORT_POLICY_INVALID' },
    JSON.stringify(spelling),
  );
  t.throws(
    () => parseHost(spelling),
    { code: 'SALLYPORT_TARGET_INVALID' },
    JSON.stringify(spelling),
  );
}

t.test('addresses and the loopback have one spelling', async (t) => {
  t.equal(parseHost('192.0.2.1'), '192.0.2.1');
  t.equal(parseHost('[2001:DB8:0::1]'), '2001:db8::1');
  t.equal(parseHost('[::ffff:7f00:1]'), '127.0.0.1');
  t.equal(parseHost('host.docker.internal'), 'localhost');
  t.equal(parseHost('LOCALHOST.'), 'localhost');
  for (const bad of ['2001:db8::1', '[1.2.3.4]', '[::1', '[fe80::1%eth0]', '[]']) {
    t.throws(() => parseHost(bad), { code: 'SALLYPORT_TARGET_INVALID' }, bad);
  }
});

t.test('a normal form stays as it is', async () => {
  fc.assert(
    fc.property(fc.domain(), (name) => {
      const once = normalizeHost(name);
      return normalizeHost(once) === once && normalizeHost(`${once.toUpperCase()}.`) === once;
    }),
  );
});
