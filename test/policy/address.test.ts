import fc from 'fast-check';
import t from 'tap';
import {
  addressBytes,
  classify,
  formatAddress,
  isAddress,
  parseAddress,
  parseRange,
} from '../../src/policy/address.ts';

t.test('one canonical form, and no guesses', async (t) => {
  for (const [text, address] of [
    ['1.2.3.4', '1.2.3.4'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
    ['::FFFF:7f00:1', '127.0.0.1'],
    ['::', '::'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
  ] as const)
    t.equal(parseAddress(text), address, text);
  for (const text of [
    '',
    '1.2.3',
    '127.1',
    '0177.0.0.1',
    '01.2.3.4',
    '0x7f.0.0.1',
    '256.1.1.1',
    '1.2.3.4.5',
    ' 1.2.3.4',
    '2130706433',
    'fe80::1%eth0',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '12345::',
    '::1.2.3',
    '::1.2.3.4:5',
  ]) {
    t.equal(parseAddress(text), null, JSON.stringify(text));
  }
});

t.test('text and bytes say the same', async () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  );
  fc.assert(
    fc.property(bytes, (some) => {
      const address = formatAddress(some);
      return (
        isAddress(address) &&
        parseAddress(address) === address &&
        formatAddress(addressBytes(address)) === address
      );
    }),
  );
});

t.test('special-use ranges are known by name (RFC 6890)', async (t) => {
  for (const [address, kind] of Object.entries({
    '8.8.8.8': 'public',
    '2606:4700::1111': 'public',
    '127.0.0.1': 'loopback',
    '127.255.255.254': 'loopback',
    '::1': 'loopback',
    '0.0.0.0': 'unspecified',
    '::': 'unspecified',
    '10.0.0.1': 'private',
    '172.16.0.1': 'private',
    '172.31.255.255': 'private',
    '172.32.0.1': 'public',
    '192.168.1.1': 'private',
    '100.64.0.1': 'cgnat',
    '169.254.1.1': 'link-local',
    'fe80::1': 'link-local',
    'fd12::1': 'unique-local',
    '224.0.0.1': 'multicast',
    'ff02::1': 'multicast',
    '255.255.255.255': 'broadcast',
    '64:ff9b::a9fe:a9fe': 'nat64',
    '2002:7f00:1::': '6to4',
    '2001::1': 'teredo',
  })) {
    const parsed = parseAddress(address);
    t.equal(parsed === null ? null : classify(parsed), kind, address);
  }
  for (const metadata of [
    '169.254.169.254',
    '100.100.100.200',
    '168.63.129.16',
    '192.0.0.192',
    'fd00:ec2::254',
    'fd20:ce::254',
    'fd00:c1::a9fe:a9fe',
    'fd00:42::42',
  ]) {
    const parsed = parseAddress(metadata);
    t.equal(parsed === null ? null : classify(parsed), 'metadata', metadata);
  }
  for (const odd of ['4000::1', '240.0.0.1', '192.0.2.1', '198.18.0.1', '::7f00:1', '0.1.2.3']) {
    const parsed = parseAddress(odd);
    t.not(parsed === null ? null : classify(parsed), 'public', odd);
  }
});

t.test('ranges: host bits are a fault that says the right form', async (t) => {
  t.match(parseRange('10.0.0.0/8'), { length: 8 });
  t.match(parseRange('10.0.0.1/8'), /10\.0\.0\.0\/8/);
  for (const bad of ['10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', '::/129', 'x/8', '10.0.0.0/-1'])
    t.type(parseRange(bad), 'string', bad);
});
