// Spellings of host names that have fooled proxies of this kind, one table for src/policy/host.ts.
import fc from 'fast-check';
import t from 'tap';
import { SallyportError } from '../../src/base/errors.ts';
import { isAddress } from '../../src/policy/address.ts';
import { canonicalHost, normalizeHost, parseHost, shown } from '../../src/policy/host.ts';

const L63 = 'a'.repeat(63);
const NAME_253 = `${L63}.${L63}.${L63}.${'a'.repeat(61)}`;

const same: readonly (readonly [spelling: string, host: string, why: string])[] = [
  ['EXAMPLE.COM.', 'example.com', 'case and the root label at once (CVE-2022-24825)'],
  ['BÜCHER.example', 'xn--bcher-kva.example', 'upper case beyond ASCII'],
  ['bu\u0308cher.example', 'xn--bcher-kva.example', 'a combining mark is composed (NFC)'],
  ['XN--BCHER-KVA.example', 'xn--bcher-kva.example', 'an A-label in upper case'],
  ['example。com', 'example.com', 'the ideographic full stop is a dot'],
  ['example.com。', 'example.com', 'and so is a trailing one'],
  ['ⓔxample.com', 'example.com', 'a letter in a circle'],
  ['localhost', 'localhost', 'one label'],
  ['1.2.3.example', '1.2.3.example', 'labels of digits before a name'],
  ['a-b.c--d.example', 'a-b.c--d.example', 'hyphens within'],
  ['r3---sn-5hne6n.example', 'r3---sn-5hne6n.example', 'as large sites name their caches'],
  ['xn--99999999.example', 'xn--99999999.example', 'an A-label is compared as it stands'],
  [NAME_253, NAME_253, '253 bytes'],
  [`${NAME_253}.`, NAME_253, 'and the dot of the root'],
  [`${L63}.example`, `${L63}.example`, 'a label of 63 bytes'],
];

t.test('spellings of one host meet', async (t) => {
  for (const [spelling, host, why] of same) t.equal(normalizeHost(spelling), host, why);
});

const faults: readonly (readonly [spelling: string, why: string])[] = [
  ['example.com.。', 'two trailing dots, one of them wide'],
  [`a${NAME_253}`, '254 bytes'],
  ['a'.repeat(100_000), 'very long (CVE-2024-24806)'],
  [`${'ü'.repeat(60)}.com`, 'an A-label over 63 bytes'],
  [' example.com', 'a space before'],
  ['example.com ', 'a space after'],
  ['example.com\t', 'a tab, which URL parsers drop'],
  ['exam\nple.com', 'a line feed, which URL parsers drop'],
  ['evil.test\0.example.com', 'a NUL, at which C stops reading'],
  ['example.com\x7f', 'DEL'],
  ['example.com\x85', 'a C1 control'],
  ['exa\u00a0mple.com', 'a no-break space'],
  ['example%2ecom', 'a percent sign'],
  ['example％2ecom', 'a wide percent sign, which UTS-46 makes one'],
  ['a／b.example', 'a wide slash'],
  ['a：80', 'a wide colon'],
  ['a＠b.example', 'a wide at sign'],
  ['example.com]', 'one bracket'],
  ['a*b.example', 'a glob'],
  ['example.com\\x', 'a backslash'],
  ['example.com?x', 'a query'],
  ['example.com#x', 'a fragment'],
  ['xn--.example', 'an A-label of nothing'],
  ['xn--abc-.example', 'an A-label that stands for ASCII'],
  ['\ud800.example', 'half a character'],
  ['\u200b.example', 'a label of a zero-width space'],
  ['127.0.1', 'an address in three parts'],
  ['0x7f000001', 'a hexadecimal number'],
  ['0X7F.0.0.0x1', 'upper case hexadecimal'],
  ['127.0.0.0x', 'an empty hexadecimal part'],
  ['１２７.0.0.1', 'wide digits'],
  ['127。0。0。1', 'wide dots'],
  ['①②⑦.0.0.1', 'digits in circles'],
  ['1.2.3.256', 'an address out of range'],
  ['example.123', 'a last label of digits, as no top-level domain has'],
  ['::1', 'an IPv6 address'],
];

t.test('what has no normal form is refused, with the code of who asks', async (t) => {
  for (const [spelling, why] of faults) {
    t.throws(() => normalizeHost(spelling), { code: 'SALLYPORT_POLICY_INVALID' }, why);
    t.throws(() => parseHost(spelling), { code: 'SALLYPORT_TARGET_INVALID' }, why);
  }
  t.throws(() => normalizeHost('127.0.0.1'), { code: 'SALLYPORT_POLICY_INVALID' }, 'no name');
});

t.test('brackets are for IPv6 alone (CVE-2022-29188)', async (t) => {
  const brackets = ['[', ']', '[example.com]', '::1]', '[[::1]]', '[::1].', '[::1]x', '[::1]:80'];
  const odd = ['[fe80::1%25eth0]', '[v1.x]', '[ ::1]', '[::1 ]', '[]', '1::2', '[127.1]'];
  for (const text of [...brackets, ...odd]) {
    t.throws(() => parseHost(text), { code: 'SALLYPORT_TARGET_INVALID' }, text);
  }
});

t.test('names beside the loopback are not the loopback', async (t) => {
  for (const name of ['a.localhost', 'localhost.localdomain', 'gateway.docker.internal']) {
    t.equal(parseHost(name), name);
  }
  t.equal(canonicalHost(normalizeHost('x.host.docker.internal')), 'x.host.docker.internal');
  t.equal(canonicalHost(normalizeHost('Host.Docker.Internal.')), 'localhost');
});

t.test('whatever comes in, what comes out is normal', async () => {
  const anything = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ unit: fc.constantFrom(...'aB1-._xn。ü０％[]*: \0'), maxLength: 20 }),
  );
  fc.assert(
    fc.property(anything, (name) => {
      let host: string;
      try {
        host = normalizeHost(name);
      } catch (error) {
        return error instanceof SallyportError && error.code === 'SALLYPORT_POLICY_INVALID';
      }
      const isLdh = /^(?!.*\.\.)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(host);
      return normalizeHost(host) === host && isLdh && host.length <= 253 && !isAddress(host);
    }),
    { numRuns: 2_000 },
  );
});

t.test('the fast path and the long way agree', async () => {
  // Upper case takes the long way; it must say what the fast path says of lower case.
  const outcome = (name: string): string | null => {
    try {
      return normalizeHost(name);
    } catch {
      return null;
    }
  };
  const names = fc.string({ unit: fc.constantFrom(...'ab01x-.'), minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(names, (name) => {
      const rooted = name.endsWith('.') ? name : `${name}.`;
      return outcome(`q.${name}`) === outcome(`Q.${name}`) && outcome(name) === outcome(rooted);
    }),
    { numRuns: 3_000 },
  );
});

t.test('hostile text is shown short and tame', async (t) => {
  t.equal(shown('a"b'), '"a\\"b"');
  t.equal(shown('\x1b[2J\x85\u202e\u2028'), '"\\u001b[2J\\u{85}\\u{202e}\\u{2028}"');
  t.ok(shown('x'.repeat(100_000)).length < 120);
});
