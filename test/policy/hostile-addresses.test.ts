// Edges of src/policy/address.ts: spellings that parsers read each in its own way, and the first
// and last address of every special-use range.
import fc from 'fast-check';
import t from 'tap';
import {
  type Address,
  addressBytes,
  classify,
  covers,
  formatAddress,
  isAddress,
  parseAddress,
  parseRange,
} from '../../src/policy/address.ts';

t.test('addresses have one canonical text (RFC 5952)', async (t) => {
  const read: [text: string, address: string][] = [
    ['255.255.255.255', '255.255.255.255'],
    ['0000:0000:0000:0000:0000:0000:0000:0001', '::1'],
    ['2001:0db8::000a', '2001:db8::a'],
    ['1::', '1::'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['1:0:0:2:3:0:0:4', '1::2:3:0:0:4'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['::1.2.3.4', '::102:304'],
    ['1:2:3:4:5:6:7.8.9.10', '1:2:3:4:5:6:708:90a'],
    ['0:0:0:0:0:ffff:7f00:0001', '127.0.0.1'],
    ['::ffff:0:7f00:1', '::ffff:0:7f00:1'],
  ];
  for (const [text, address] of read) t.equal(parseAddress(text), address, text);
});

t.test('spellings that others guess at are no addresses', async (t) => {
  const parts = ['1', '127.0.1', '0x7f000001', '1.2.3.04', '00.0.0.0', '1.2.3.4.', '.1.2.3.4'];
  const signs = [
    '1.2.3.-4',
    '+1.2.3.4',
    '1.2.3.4 ',
    '1.2.3.4\0',
    '1.2.3.1e1',
    '1..2.3',
    '1.2.3.4%1',
  ];
  const wide = ['１.2.3.4', '1。2.3.4', '1.2.3.4/32', '1.2.3.4:80', '999.1.1.1'];
  const v6 = [':', '::1::', '1:2:3:4:5:6:7:8:9', ':1', '1:', '::g', '::-1', ':1::2', '::+1'];
  const full = ['1:2:3:4:5:6:7:8::', '::1:2:3:4:5:6:7:8', '1::2:3:4:5:6:7:8'];
  const more = ['fe80::1%25eth0', '[::1]', '::1/128', '::1 ', '::ffff:1.2.3.04', '::ffff:127.1'];
  const dotted = ['::1.2.3.4.5', '1.2.3.4::', '::0x1', '1:2:3:4:5:6:7:1.2.3.4'];
  const long = [`${'0'.repeat(60)}::1`, ':'.repeat(10_000), '1'.repeat(10_000)];
  for (const text of [parts, signs, wide, v6, full, more, dotted, long].flat()) {
    t.equal(parseAddress(text), null, JSON.stringify(text.slice(0, 40)));
  }
});

t.test('runs of zeros come and go without a change of meaning', async () => {
  const groups = fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 });
  fc.assert(
    fc.property(groups, (list) => {
      const address = formatAddress(Uint8Array.from(list));
      const bytes = addressBytes(address);
      const same = bytes.length === 4 || bytes.every((byte, i) => byte === list[i]);
      return same && parseAddress(address) === address && isAddress(address);
    }),
    { numRuns: 1_000 },
  );
});

t.test('names are no addresses', async (t) => {
  for (const host of ['example.com', 'a1', '1.2.3.example', 'x.1a', '']) t.notOk(isAddress(host));
});

const classes: readonly (readonly [kind: string, ...addresses: string[]])[] = [
  ['public', '1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0'],
  ['public', '126.255.255.255', '128.0.0.0', '169.253.255.255', '169.255.0.0', '172.15.255.255'],
  ['public', '192.167.255.255', '192.169.0.0', '198.17.255.255', '198.20.0.0', '192.0.1.0'],
  ['public', '223.255.255.255', '2a00::1', '2001:4860::8888', '2001:200::', '2003::'],
  ['unspecified', '::ffff:0.0.0.0'],
  ['this-network', '0.0.0.1', '0.255.255.255'],
  ['loopback', '127.0.0.0', '127.255.255.255', '::ffff:127.0.0.1'],
  ['private', '10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0'],
  ['private', '192.168.255.255', '::ffff:10.0.0.1'],
  ['cgnat', '100.64.0.0', '100.127.255.255'],
  ['link-local', '169.254.0.0', '169.254.255.255', 'fe80::', 'febf:ffff::'],
  ['metadata', '169.254.170.2', '169.254.170.23', '::ffff:169.254.169.254', 'fe80::a9fe:a9fe'],
  ['metadata', 'fd00:ec2::23', 'fd00:ec2:ffff::1'],
  ['reserved', '192.0.0.1', '240.0.0.0', '255.255.255.254', '2001:2::', '2001:1ff:ffff::'],
  ['reserved', '8000::1', 'fbff::1', '200::', '1::', '5f00::1', '::1:0:0:0'],
  ['documentation', '198.51.100.255', '203.0.113.7', '2001:db8::', '3fff::1', '192.0.2.0'],
  ['benchmark', '198.18.0.0', '198.19.255.255'],
  ['multicast', '239.255.255.255', 'ff00::'],
  ['6to4-relay', '192.88.99.1'],
  ['v4-compatible', '::2', '::a00:1'],
  ['v4-translated', '::ffff:0:7f00:1'],
  ['nat64', '64:ff9b::', '64:ff9b::808:808', '64:ff9b:1::', '64:ff9b:1:ffff::'],
  ['discard', '100::', '100::ffff'],
  ['teredo', '2001::', '2001:0:ffff::'],
  ['6to4', '2002::', '2002:ffff:ffff::'],
  ['unique-local', 'fc00::', 'fdff:ffff::'],
  ['site-local', 'fec0::', 'feff::1'],
];

t.test('the first and last of each range (IANA special-purpose registries)', async (t) => {
  for (const [kind, ...addresses] of classes) {
    for (const text of addresses) {
      const address = parseAddress(text);
      t.equal(address && classify(address), kind, text);
    }
  }
});

t.test('no IPv4 address is public within an IPv6 one', async () => {
  const quad = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255));
  fc.assert(
    fc.property(quad, fc.constantFrom('::', '64:ff9b::', '::ffff:0:'), (parts, prefix) => {
      const inner = parseAddress(`${prefix}${parts.join('.')}`);
      return inner !== null && classify(inner) !== 'public';
    }),
  );
});

t.test('ranges', async (t) => {
  const read: [text: string, network: string, length: number][] = [
    ['0.0.0.0/0', '0.0.0.0', 0],
    ['10.1.2.3/32', '10.1.2.3', 32],
    ['10.0.0.128/25', '10.0.0.128', 25],
    ['::/0', '::', 0],
    ['2001:DB8::1/128', '2001:db8::1', 128],
    ['::ffff:10.0.0.0/104', '10.0.0.0', 8],
    ['::ffff:0:0/96', '0.0.0.0', 0],
  ];
  for (const [text, network, length] of read) {
    const range = parseRange(text);
    if (typeof range === 'string') t.fail(`${text}: ${range}`);
    else t.strictSame([formatAddress(range.bytes), range.length], [network, length], text);
  }
});

t.test('a range that is none says why', async (t) => {
  const faults: [text: string, why: RegExp][] = [
    ['10.0.0.129/25', /write 10\.0\.0\.128\/25$/],
    ['2001:db8::1/64', /write 2001:db8::\/64$/],
    ['::ffff:10.0.0.0/95', /96 to 128$/],
    ['10.0.0.0/8/8', /0 to 32$/],
    ['10.0.0.0/8 ', /0 to 32$/],
    ['10.0.0/8', /not an address$/],
    ['10/8', /not an address$/],
    ['/8', /not an address$/],
    ['10.0.0.0', /not an address$/],
    ['fe80::1%1/64', /not an address$/],
  ];
  for (const [text, why] of faults) t.match(parseRange(text), why, text);
});

t.test('a range covers by its first bits', async () => {
  const bytes = fc.uint8Array({ minLength: 4, maxLength: 4 });
  const bits = (list: Uint8Array): string =>
    [...list].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  fc.assert(
    fc.property(bytes, bytes, fc.nat(32), (network, other, length) => {
      const expected = bits(network).slice(0, length) === bits(other).slice(0, length);
      return covers(network, length, other) === expected && covers(network, length, network);
    }),
  );
  fc.assert(fc.property(bytes, (v4) => !covers(v4, 0, addressBytes('::1' as Address))));
});
