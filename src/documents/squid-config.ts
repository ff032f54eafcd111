// The lines of a squid.conf that say who may reach what: its ACLs by kind, and its http_access lines in
// their order, which is what they are judged in.
import { addressBytes, formatAddress, parseAddress, parseRange } from '../policy/address.ts';
import type { Resource } from '../policy/resource.ts';
import { importedResources, type Loss } from './import.ts';
import { type PortRange, type Ports, readPorts, unionOf } from './ports.ts';

/**
 * domains, addresses, ports: of the destination. all: everything. never: nothing that a sandbox asks for.
 * client: who asks. unknown: what a policy here cannot say.
 */
export type AclKind = 'domains' | 'addresses' | 'ports' | 'all' | 'never' | 'client' | 'unknown';

export type Acl = {
  readonly name: string;
  kind: AclKind;
  /** As it is written, for messages. */
  readonly type: string;
  readonly resources: Resource[];
  ports: Ports;
  /** Values that could not be read: it matches more than what is here. */
  isPart: boolean;
};

export type AccessLine = {
  readonly decision: 'allow' | 'deny';
  readonly terms: readonly { readonly acl: Acl; readonly negated: boolean }[];
  readonly at: string;
  readonly text: string;
};

/** What a line between `if` and `endif` asks for beside its own conditions. */
export const CONDITION: Acl = {
  ...{ name: 'if', type: 'a condition', kind: 'unknown' },
  ...{ resources: [], ports: [], isPart: true },
};

export type SquidConfig = {
  readonly lines: readonly AccessLine[];
  readonly losses: readonly Loss[];
};

const CLIENT_TYPES = new Set([
  ...['src', 'srcdomain', 'srcdom_regex', 'arp', 'eui64', 'myip', 'localip', 'myport', 'localport'],
  ...[
    'myportname',
    'ident',
    'ident_regex',
    'proxy_auth',
    'proxy_auth_regex',
    'user_cert',
    'browser',
  ],
]);

const KINDS: Readonly<Record<string, AclKind>> = {
  dstdomain: 'domains',
  dst: 'addresses',
  port: 'ports',
};

/** Values of ACLs for the manager, which is no site. */
const MANAGER = new Set([
  'cache_object',
  '^cache_object://',
  '^https?://[^/]+/squid-internal-mgr/',
]);

/** Squid may refuse by them what http_access allows. */
const REFUSING = new Set([
  ...['http_reply_access', 'miss_access', 'adapted_http_access', 'http_access2', 'ssl_bump'],
]);

/** Those that squid has before the first line. */
const BUILT_IN: readonly [name: string, type: string, ...values: string[]][] = [
  ['all', 'src', 'all'],
  ['manager', 'proto', 'cache_object'],
  ['localhost', 'src', '127.0.0.1/32', '::1'],
  ['to_localhost', 'dst', '127.0.0.0/8', '0.0.0.0/32', '::1/128', '::/128'],
  ['to_linklocal', 'dst', '169.254.0.0/16', 'fe80::/10'],
  ['CONNECT', 'method', 'CONNECT'],
];

/**
 * @param name  of the file.
 * @param readList  the text of a file that an ACL names, or null when it cannot be had.
 */
export function readSquidConfig(
  text: string,
  name: string,
  readList: (path: string) => string | null,
): SquidConfig {
  const reader = new Reader(readList);
  for (const [acl, ...more] of BUILT_IN) reader.directive(['acl', acl, ...more], '', '');
  for (const { line, number } of logicalLines(text)) {
    const words = wordsOf(line);
    if (words.length > 0) reader.directive(words, `${name}:${number}`, line);
  }
  return reader;
}

/**
 * A backslash at its end goes on in the next line. Comments and empty lines are dropped before that: one
 * never goes on, and none ends what goes on around it.
 */
function logicalLines(text: string): { line: string; number: number }[] {
  const lines: { line: string; number: number }[] = [];
  let open = false;
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const written = raw.trimStart();
    if (written === '' || written.startsWith('#')) continue;
    const goesOn = written.endsWith('\\');
    const own = goesOn ? written.slice(0, -1) : written;
    const last = lines.at(-1);
    if (open && last !== undefined) last.line += own;
    else lines.push({ line: own, number: i + 1 });
    open = goesOn;
  }
  return lines.map(({ line, number }) => ({ line: line.trim(), number }));
}

/** A quoted word is one; `#` begins a comment. */
function wordsOf(line: string): string[] {
  const words = line.match(/"[^"]*"|[^\s"]+/g) ?? [];
  const comment = words.findIndex((word) => word.startsWith('#'));
  return comment < 0 ? words : words.slice(0, comment);
}

class Reader implements SquidConfig {
  readonly lines: AccessLine[] = [];
  readonly losses: Loss[] = [];
  /** By their names in lower case, as squid compares them. */
  readonly #acls = new Map<string, Acl>();
  readonly #readList: (path: string) => string | null;
  /** How many `if` are open. */
  #conditions = 0;

  constructor(readList: (path: string) => string | null) {
    this.#readList = readList;
  }

  directive([directive = '', ...words]: readonly string[], at: string, text: string): void {
    if (directive === 'acl') this.#acl(words, at);
    else if (directive === 'http_access') this.#access(words, at, text);
    else if (directive === 'include') this.losses.push({ ...INCLUDED, at, what: text });
    else if (REFUSING.has(directive) && words.join(' ') !== 'allow all') {
      this.losses.push({ ...ALSO_REFUSED, at, what: text });
    } else if (/_access$|^(?:ssl_bump|if|else|endif)$/.test(directive)) {
      const why = 'only acl and http_access are carried over';
      this.losses.push({ effect: 'left-out', at, what: text, why });
    }
    if (directive === 'if') this.#conditions++;
    if (directive === 'endif' && this.#conditions > 0) this.#conditions--;
  }

  #acl([name = '', type = '', ...given]: readonly string[], at: string): void {
    const acl = this.#acls.get(name.toLowerCase()) ?? this.#begin(name, type, given);
    if (this.#conditions > 0) acl.kind = 'unknown';
    if (acl.type !== type && acl.kind !== 'never') {
      acl.isPart = true;
      this.#lose(acl, at, `it is of type ${acl.type} already`);
      return;
    }
    for (const value of given
      .filter((one) => !/^[-+]\w$/.test(one))
      .flatMap((one) => this.#listed(one, acl, at))) {
      const why = addValue(acl, value);
      if (why !== null) this.#lose(acl, at, `${value}: ${why}`);
    }
  }

  #begin(name: string, type: string, values: readonly string[]): Acl {
    const kind = kindOf(type, values);
    const acl: Acl = { name, kind, type, resources: [], ports: [], isPart: false };
    this.#acls.set(name.toLowerCase(), acl);
    return acl;
  }

  /** The values of a file that is named in quotes, one a line. */
  #listed(value: string, acl: Acl, at: string): readonly string[] {
    const path = /^"(.*)"$/.exec(value)?.[1];
    if (path === undefined) return [value];
    const text = this.#readList(path);
    if (text !== null)
      return text
        .split(/\r?\n/)
        .map((line) => line.replace(/#.*$/, '').trim())
        .filter((line) => line !== '');
    acl.isPart = true;
    this.#lose(acl, at, `${path} cannot be read`);
    return [];
  }

  #lose(acl: Acl, at: string, why: string): void {
    acl.isPart = true;
    if (acl.kind === 'client' || acl.kind === 'unknown') return; // It is told of where it is used.
    this.losses.push({ effect: 'left-out', at, what: `acl ${acl.name}`, why });
  }

  #access([action = '', ...names]: readonly string[], at: string, text: string): void {
    if (action !== 'allow' && action !== 'deny') {
      this.losses.push({ effect: 'left-out', at, what: text, why: 'it neither allows nor denies' });
      return;
    }
    if (names.length === 0) {
      const why = 'it names no acl, so squid passes over it';
      this.losses.push({ effect: 'left-out', at, what: text, why });
      return;
    }
    const terms = names.map((name) => {
      const plain = name.replace(/^!/, '');
      const missing = { name: plain, kind: 'unknown', type: 'no acl', isPart: true } as const;
      const acl = this.#acls.get(plain.toLowerCase()) ?? { ...missing, resources: [], ports: [] };
      return { acl, negated: name !== plain };
    });
    if (this.#conditions > 0) terms.push({ acl: CONDITION, negated: false });
    this.lines.push({ decision: action, terms, at, text });
  }
}

const INCLUDED = {
  effect: 'assumed',
  why: 'the files deny nothing that this one allows; put them in its place to have them read',
} as const;
const ALSO_REFUSED = {
  effect: 'assumed',
  why: 'it refuses nothing that http_access allows; it is not carried over',
} as const;

function kindOf(type: string, values: readonly string[]): AclKind {
  const isAll =
    values.length === 1 && /^(?:all|0\.0\.0\.0\/0(?:\.0\.0\.0)?|0\/0)$/.test(values[0] ?? '');
  if (isAll && (type === 'src' || type === 'dst')) return 'all';
  if (type === 'proto' && values.join() === 'cache_object') return 'never';
  return KINDS[type] ?? (CLIENT_TYPES.has(type) ? 'client' : 'unknown');
}

/** @returns why a value could not be taken, or null */
function addValue(acl: Acl, value: string): string | null {
  if (acl.kind === 'ports') {
    const range = readPorts(value);
    if (range === null) return 'it is no port';
    acl.ports = unionOf([...acl.ports, range] as PortRange[]);
    return null;
  }
  if (acl.kind === 'never' && !MANAGER.has(value)) acl.kind = 'unknown';
  if (acl.kind !== 'domains' && acl.kind !== 'addresses') return null;
  const found = acl.kind === 'domains' ? domainsOf(value) : addressesOf(value);
  if (typeof found === 'string') return found;
  acl.resources.push(...found);
  return null;
}

/** `.example.com` is the name and all below it. */
function domainsOf(value: string): readonly Resource[] | string {
  const name = value.replace(/^\./, '');
  if (/[*?[\]/,:!\\]/.test(name)) return 'it is no name';
  const own = importedResources('deny', name);
  if (typeof own === 'string' || name === value) return own;
  const below = importedResources('deny', `**.${name}`);
  return typeof below === 'string' ? below : [...own, ...below];
}

/** An address, a range with its length or its mask. */
function addressesOf(value: string): readonly Resource[] | string {
  const [address = '', mask] = value.split('/');
  if (parseAddress(address) === null) return 'only addresses and ranges are carried over';
  const length = mask === undefined ? null : lengthOf(mask);
  if (mask !== undefined && length === null) return 'its mask is no length';
  const isSix = address.includes(':');
  if (!isSix && (length ?? 32) === 32) return importedResources('deny', address);
  const text = `${address}/${length ?? 128}`;
  if (typeof parseRange(text) !== 'string') return importedResources('deny', text);
  return importedResources('deny', `${networkOf(address, length ?? 0)}/${length}`);
}

/** `8`, `255.0.0.0` */
function lengthOf(mask: string): number | null {
  if (/^\d{1,3}$/.test(mask)) return Number(mask);
  const parsed = parseAddress(mask);
  if (parsed === null || mask.includes(':')) return null;
  const bits = [...addressBytes(parsed)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return /^1*0*$/.test(bits) ? bits.replace(/0+$/, '').length : null;
}

/** squid takes a range whose address has bits behind its length, and drops them. */
function networkOf(address: string, length: number): string {
  const parsed = parseAddress(address);
  if (parsed === null) return address;
  const bytes = addressBytes(parsed).map(
    (byte, i) => byte & ~(0xff >> Math.min(8, Math.max(0, length - 8 * i))),
  );
  return formatAddress(bytes);
}
