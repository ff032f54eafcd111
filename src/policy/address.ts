// IP addresses in one canonical form, and what kind each is. One parser of our own: spellings that
// other parsers guess at (`127.1`, `0x7f.1`, octal, zone ids) are no addresses here.

/** An IP address in canonical text: dotted decimal, or RFC 5952 without brackets. */
export type Address = string & { readonly __address: unique symbol };

/** Why an address is not for everyone; the names of the IANA special-purpose registries (RFC 6890). */
export type AddressClass = string;

/**
 * Reads an address, strictly. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) is its IPv4.
 *
 * @returns null for anything that is not exactly an address.
 */
export function parseAddress(text: string): Address | null {
  const bytes = text.includes(':') ? parseV6(text) : parseV4(text);
  return bytes === null ? null : formatAddress(bytes);
}

/** Whether a normal form is an address: names never end in an all-digit label and hold no colon. */
export function isAddress(host: string): host is Address {
  if (host.includes(':')) return true;
  let at = host.length - 1;
  while (at >= 0 && isDigit(host.charCodeAt(at))) at--;
  return at >= 0 && at < host.length - 1 && host[at] === '.';
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

/** @returns 4 or 16 bytes, network order. */
export function addressBytes(address: Address): Uint8Array {
  const bytes = address.includes(':') ? parseV6(address) : parseV4(address);
  return bytes ?? new Uint8Array(0);
}

/** @param bytes  4 or 16, network order; a mapped IPv4 address comes out as IPv4. */
export function formatAddress(bytes: Uint8Array): Address {
  if (bytes.length === 4) return bytes.join('.') as Address;
  if (isMapped(bytes)) return bytes.subarray(12).join('.') as Address;
  return formatV6(bytes) as Address;
}

function isMapped(bytes: Uint8Array): boolean {
  return (
    bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255
  );
}

const classes = new Map<Address, AddressClass>(); // Facts alone; nothing can go stale.
const CLASSES_MAX = 1_024;

/** @returns the class of a special-use address, or 'public'. */
export function classify(address: Address): AddressClass {
  const known = classes.get(address);
  if (known !== undefined) return known;
  const found = classOf(address);
  if (classes.size >= CLASSES_MAX) classes.clear();
  classes.set(address, found);
  return found;
}

function classOf(address: Address): AddressClass {
  const bytes = addressBytes(address);
  const table = bytes.length === 4 ? SPECIAL_V4 : SPECIAL_V6;
  const holds = ({ network, length }: Special): boolean => covers(network, length, bytes);
  const found = METADATA.find(holds) ?? table.find(holds);
  if (found !== undefined) return found.name;
  return bytes.length === 16 && !covers(GLOBAL_UNICAST, 3, bytes) ? 'reserved' : 'public';
}

/** Whether `bytes` lies in the range of `length` bits at `network` (same family). */
export function covers(network: Uint8Array, length: number, bytes: Uint8Array): boolean {
  if (network.length !== bytes.length) return false;
  const whole = length >> 3;
  for (let i = 0; i < whole; i++) if (network[i] !== bytes[i]) return false;
  const rest = length & 7;
  if (rest === 0) return true;
  const mask = (0xff << (8 - rest)) & 0xff;
  return ((network[whole] ?? 0) & mask) === ((bytes[whole] ?? 0) & mask);
}

/** A range as written, `10.0.0.0/8`; the fault in words when it is none. */
export function parseRange(text: string): { bytes: Uint8Array; length: number } | string {
  const slash = text.indexOf('/');
  const [written, size] = [text.slice(0, slash), text.slice(slash + 1)];
  const address = parseAddress(written);
  if (slash < 0 || address === null) return 'the part before the slash is not an address';
  const bytes = addressBytes(address);
  // ::ffff:10.0.0.0/104 is 10.0.0.0/8: both name the same addresses.
  const offset = bytes.length === 4 && written.includes(':') ? 96 : 0;
  const length = Number(size) - offset;
  if (!/^(0|[1-9]\d{0,2})$/.test(size) || length < 0 || length > bytes.length * 8) {
    return `the prefix length must be ${offset} to ${offset + bytes.length * 8}`;
  }
  const network = masked(bytes, length);
  if (network.some((byte, i) => byte !== bytes[i])) {
    return `bits are set behind the prefix; write ${formatAddress(network)}/${length}`;
  }
  return { bytes: network, length };
}

function masked(bytes: Uint8Array, length: number): Uint8Array {
  return bytes.map((byte, i) => {
    const bits = Math.min(8, Math.max(0, length - i * 8));
    return byte & ((0xff << (8 - bits)) & 0xff);
  });
}

function parseV4(text: string): Uint8Array | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[i] = Number(part);
  }
  return bytes;
}

/** RFC 4291 section 2.2, all three forms; no zone. */
function parseV6(text: string): Uint8Array | null {
  if (text.length > 45) return null;
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = groupsOf(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? groupsOf(halves[1] ?? '', true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** @param last  whether a dotted IPv4 part may stand at the end. */
function groupsOf(text: string, last: boolean): number[] | null {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (last && i === parts.length - 1 && part.includes('.')) {
      const v4 = parseV4(part);
      if (v4 === null) return null;
      const [a = 0, b = 0, c = 0, d = 0] = v4;
      groups.push((a << 8) | b, (c << 8) | d);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else return null;
  }
  return groups;
}

/** RFC 5952 section 4: lower case, no leading zeros, the first longest run of zeros shortened. */
function formatV6(bytes: Uint8Array): string {
  const groups = Array.from(
    { length: 8 },
    (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0),
  );
  let [start, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > length) [start, length] = [i, run];
    i += run;
  }
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}

type Special = { readonly name: string; readonly network: Uint8Array; readonly length: number };

function special(list: readonly [range: string, name: string][]): Special[] {
  return list.map(([range, name]) => {
    const [address = '', length] = range.split('/', 2);
    const network =
      (address.includes(':') ? parseV6(address) : parseV4(address)) ?? new Uint8Array(0);
    return { name, network, length: Number(length) };
  });
}

/** Addresses at which clouds hand out credentials to whoever asks, or run the machine. */
const METADATA = special([
  ['169.254.169.254/32', 'metadata'], // AWS, GCP, Azure, DigitalOcean, Oracle and others
  ['169.254.170.2/32', 'metadata'], // AWS ECS tasks
  ['169.254.170.23/32', 'metadata'], // AWS EKS pods
  ['169.254.0.23/32', 'metadata'], // Tencent
  ['100.100.100.200/32', 'metadata'], // Alibaba
  ['168.63.129.16/32', 'metadata'], // Azure wire server
  ['192.0.0.192/32', 'metadata'], // Oracle
  ['fd00:ec2::/32', 'metadata'], // AWS: metadata, DNS, time, EKS pods
  ['fd20:ce::254/128', 'metadata'], // GCP
  ['fd00:c1::a9fe:a9fe/128', 'metadata'], // Oracle
  ['fd00:42::42/128', 'metadata'], // Scaleway
  ['fe80::a9fe:a9fe/128', 'metadata'], // OpenStack
]);

// IANA IPv4 and IPv6 Special-Purpose Address Registries, narrowest first where they nest.
const SPECIAL_V4 = special([
  ['0.0.0.0/32', 'unspecified'],
  ['0.0.0.0/8', 'this-network'],
  ['10.0.0.0/8', 'private'],
  ['100.64.0.0/10', 'cgnat'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['172.16.0.0/12', 'private'],
  ['192.0.0.0/24', 'reserved'],
  ['192.0.2.0/24', 'documentation'],
  ['192.31.196.0/24', 'reserved'],
  ['192.52.193.0/24', 'reserved'],
  ['192.88.99.0/24', '6to4-relay'],
  ['192.168.0.0/16', 'private'],
  ['192.175.48.0/24', 'reserved'],
  ['198.18.0.0/15', 'benchmark'],
  ['198.51.100.0/24', 'documentation'],
  ['203.0.113.0/24', 'documentation'],
  ['224.0.0.0/4', 'multicast'],
  ['255.255.255.255/32', 'broadcast'],
  ['240.0.0.0/4', 'reserved'],
]);

/** 2000::/3; all other IPv6 space is unassigned (RFC 4291 section 2.4). */
const GLOBAL_UNICAST = Uint8Array.from([0x20, ...new Array<number>(15).fill(0)]);

const SPECIAL_V6 = special([
  ['::/128', 'unspecified'],
  ['::1/128', 'loopback'],
  ['::/96', 'v4-compatible'],
  ['::ffff:0:0:0/96', 'v4-translated'],
  ['64:ff9b::/96', 'nat64'],
  ['64:ff9b:1::/48', 'nat64'],
  ['100::/64', 'discard'],
  ['2001::/32', 'teredo'],
  ['2001::/23', 'reserved'],
  ['2001:db8::/32', 'documentation'],
  ['2002::/16', '6to4'],
  ['2620:4f:8000::/48', 'reserved'],
  ['3fff::/20', 'documentation'],
  ['5f00::/16', 'reserved'],
  ['fc00::/7', 'unique-local'],
  ['fe80::/10', 'link-local'],
  ['fec0::/10', 'site-local'],
  ['ff00::/8', 'multicast'],
]);
